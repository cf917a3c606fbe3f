// Package deps holds no code. Its tests keep the module's architecture: which
// package may import which, which third-party modules there are and why, and
// that protocol cores are free of everything that would make them depend on
// more than their inputs. The data is in this file: a new edge or dependency is
// an edit here, with its reason.
package deps

const module = "github.com/shardkit/shardkit"

// Names for the paths below, relative to the module. An entry that ends in
// "/..." stands for everything below.
const (
	root   = "."
	wire   = "internal/wire"
	merkle = "internal/merkle"
	loop   = "internal/loop"
)

// policy says what a package's files, tests aside, may import beside the
// standard library.
type policy struct {
	dir     string   // of the package, relative to the module
	own     []string // packages of this module
	modules []string // third-party modules
	reason  string
}

// policies, the first that fits a directory counts.
var policies = []policy{
	{dir: root, reason: "the value types that all share: nothing may be pulled in with them"},
	{dir: wire, reason: "the codec is below everything"},
	{dir: merkle, own: []string{root}},
	{dir: loop, own: []string{root}},

	{dir: "reshard", own: []string{root, wire}},
	{dir: "estake", own: []string{root, wire}},

	{dir: "fbft", own: []string{root, wire, merkle, loop, "fbft/internal/mutant"}, reason: "takes its signature scheme through an interface"},
	{dir: "fbft/internal/mutant", reason: "switches for the tests of the safety rules"},
	{dir: "fbft/bls", own: []string{root}, modules: []string{circl}},
	{dir: "fbft/edlist", modules: []string{voi}, reason: "the scheme without aggregation: Ed25519 checked alone and in batches by one equation"},
	{dir: "fbft/fbfttest", own: []string{root, wire, "fbft", "fbft/internal/mutant", "kad/simnet"}},
	{dir: "kad", own: []string{root, wire, merkle, loop}},
	{dir: "kad/simnet", own: []string{root}},
	{dir: "kad/quicnet", own: []string{root, wire}, modules: []string{quic}},
	{dir: "statesync", own: []string{root, wire, merkle, loop}},
	{dir: "xshard", own: []string{root, wire, merkle, loop}},
	{dir: "vrf", modules: []string{circl, voi}},
	{dir: "vdf", own: []string{wire}},
	{dir: "vdf/drg", own: []string{root, wire, merkle, loop, "vrf", "vdf"}},
	{dir: "erasure", own: []string{root, wire, merkle, loop}, modules: []string{reedsolomon}},

	{dir: "ledger", own: []string{root, wire, merkle, "xshard"}, modules: []string{voi, gohashtree}},
	{dir: "ledger/pebblestore", modules: []string{pebble}, reason: "a Store is an interface of builtins: the adapter needs nothing of ours"},
	{dir: "ledger/ledgertest", own: []string{root, "ledger"}},

	{dir: "examples/localnet", own: public, modules: []string{pebble}, reason: "cuts power to its stores: pebble's file system of memory"},
	{dir: "examples/lab", own: public, modules: []string{plot}},
	{dir: "examples/chain", own: public, modules: []string{xcrypto}, reason: "seals key files: Argon2id and XChaCha20-Poly1305"},
	{dir: "examples/...", own: public},
	{dir: "internal/deps"},
}

// public is what a composition uses: all packages that are public, beside the
// run loop, and the codec for its own records.
var public = []string{
	root, loop, wire, "fbft", "fbft/bls", "fbft/edlist", "fbft/fbfttest", "vrf", "vdf", "vdf/drg", "reshard", "estake", "xshard",
	"erasure", "kad", "kad/simnet", "kad/quicnet", "statesync", "ledger", "ledger/pebblestore", "examples/...",
}

// The third-party modules.
const (
	circl       = "github.com/cloudflare/circl"
	voi         = "github.com/oasisprotocol/curve25519-voi"
	quic        = "github.com/quic-go/quic-go"
	gohashtree  = "github.com/prysmaticlabs/gohashtree"
	pebble      = "github.com/cockroachdb/pebble/v2"
	reedsolomon = "github.com/klauspost/reedsolomon"
	xcrypto     = "golang.org/x/crypto"
	plot        = "gonum.org/v1/plot"
	testify     = "github.com/stretchr/testify"
)

// reasons why each of them is there rather than code of our own. Tests may
// import all of them.
var reasons = map[string]string{
	circl:       "BLS12-381 with hash to curve, P-256 hash to curve: audited, constant time, no cgo",
	voi:         "Ed25519 by the ZIP-215 rules, single and in batches, and its group for the VRF",
	quic:        "QUIC: TLS 1.3, streams, loss recovery",
	gohashtree:  "SHA-256 of two hashes in a third of the library's time, two at once, in Go assembly: no cgo, and no processor is asked for what it lacks",
	pebble:      "an LSM store with atomic durable batches and a file system that simulates crashes",
	reedsolomon: "Reed-Solomon codes with vector instructions",
	xcrypto:     "Argon2id and XChaCha20-Poly1305 for key files, which the standard library does not have",
	plot:        "figures of experiments",
	testify:     "assertions in tests",
}

// standalone packages pull in no third-party module, however deep: whoever
// imports one alone gets one module.
var standalone = []string{root, wire, merkle, loop, "reshard", "estake", "xshard", "kad", "kad/simnet", "statesync", "fbft", "vdf"}

// coreDirs are the packages with a protocol core: all their files, tests and
// drivers aside, keep the core rules.
var coreDirs = []string{"fbft", "vdf/drg", "erasure", "kad", "xshard", "statesync", "examples/chain"}

// notCore are files in core packages that are for drivers although they are
// not called driver*.go.
var notCore = map[string]string{
	"fbft/log.go":    "the durable log that drivers use",
	"fbft/log_fs.go": "its files",
}

// built is what the go command may leave at the top level; .gitignore has it.
var built = []string{"*.test", "*.out", "*.prof", "localnet"}

// topLevel is the fixed top level of the repository. Dot files and the tests of
// doc.go are free.
var topLevel = []string{
	"doc.go", "go.mod", "go.sum", "LICENSE", "README.md", "CHANGELOG.md",
	"erasure", "estake", "examples", "fbft", "internal", "kad", "ledger", "reshard", "statesync", "vdf", "vrf", "xshard",
}
