// Package reshard deals voting units to shards at the turn of an epoch.
package reshard
