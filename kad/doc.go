// Package kad finds nodes and the members of shards: a Kademlia table, lookups
// along disjoint paths, and routing that knows about shards.
//
// # Model
//
// A node is named by its Ed25519 key (shardkit.NodeID); the transport
// authenticates who sent a message. A node's place in the key space is the bits
// of the shard it serves, followed by a hash of its id, and distance is XOR. So
// one plain table finds shards first and members second: a message for another
// shard comes into it after at most log2(S) steps, and a node that serves
// several shards has several places.
//
// Any number of peers is hostile: they answer falsely or not at all, and they
// invent nodes, and addresses of nodes that exist. What others say is only ever
// a hint whom to ask next. A contact enters the table, or a result, when it has
// answered our own request at its address itself. Hence a liar can hide nodes,
// but not forge them; what is done against hiding:
//
//   - Lookups go along disjoint paths: a node that one path has asked is not
//     asked by another, so that who captures one path has captured one path. A
//     lookup that fails among the nearest K asks the K behind them too.
//   - A contact that answers is never evicted for a newcomer. Old contacts are
//     pinged; those that fail twice go, unless everybody fails at once: then it
//     is we who are cut off.
//   - At most PerPrefix contacts of a /24 or /64 are in a bucket, and five times
//     that in the table, in a member set, and among the candidates of a lookup.
//     All host names together count as one prefix.
//   - Config.Member, if given, says who may claim a shard: in a chain, the
//     members of its committees.
//
// Requests are limited by peer; everything that grows is bounded.
//
// # Protocol
//
// Every message carries its sender's address and shards, so every exchange
// confirms them. Requests have a number that the answer repeats.
//
//		Ping                  -> Pong
//		Find target           -> Nodes: the K contacts nearest to a place
//		Members shard, place  -> Nodes: members of the shard, from the place onwards;
//		                         like Find at a node that does not serve the shard
//
//	 1. Start asks the bootstrap nodes for our own place and looks through the
//	    rest of the key space. From then on it looks around at home, for our own
//	    place again and for members of our shards that other members know: after
//	    a second first, then ever more rarely, in the end once per Refresh.
//	 2. Whoever asks us and is unknown gets a ping, if there is room for it.
//	 3. Find asks ever nearer nodes until the node itself has answered. FindShard
//	    does the same towards a random place of the shard, then asks the members
//	    it meets for more of them.
//	 4. SetSelf tells neighbours and members when our shards change with the
//	    epoch.
//
// # How to drive it
//
//	core, err := kad.New(kad.Config{Self: self, ShardBits: 4, Bootstrap: known})
//	core.Start(now)
//	core.FindShard(now, shard, 32)
//	ready := core.Ready()
//	for _, c := range ready.Routes {
//		host.SetAddr(c.ID, c.Addr) // before the messages are sent
//	}
//	for _, m := range ready.Messages {
//		host.Send(m)
//	}
//	// later: core.Deliver(now, from, msg), core.Tick(now) when core.Wake() says so,
//	// and ready.Members has the answer
//
// Contacts, kept in a file with AppendContacts and given back as Config.Known,
// make a restart independent of the bootstrap nodes.
//
// # What it does not do
//
// It stores no values. It does not forward messages: Closest names next hops,
// and who must get through sends to several. It does not stop somebody with
// very many keys and very many networks from crowding a shard in which Member
// vouches for nobody.
//
// # Deviations
//
// From Kademlia: no values; a bucket keeps four spares instead of a cache of K.
// From S/Kademlia: ids are not bound by a puzzle but by Member; sibling lists
// are the member sets of own shards.
//
// # References
//
//   - Maymounkov and Mazières, Kademlia: A Peer-to-peer Information System Based
//     on the XOR Metric, 2002.
//   - Baumgart and Mies, S/Kademlia: A Practicable Approach Towards Secure
//     Key-Based Routing, 2007.
//   - Heilman, Kendler, Zohar and Goldberg, Eclipse Attacks on Bitcoin's
//     Peer-to-Peer Network, 2015 (limits by prefix, test before evict).
package kad
