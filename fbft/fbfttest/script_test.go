package fbfttest_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardkit/shardkit/fbft/fbfttest"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts in testdata")

// TestScripts runs the scenarios in testdata and compares their transcripts.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := fbfttest.RunScript(string(want))
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			if *rewrite {
				err = os.WriteFile(file, []byte(got), 0o644)
			} else if got != string(want) {
				t.Errorf("another transcript (-rewrite if it is right):\n%s", got)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
