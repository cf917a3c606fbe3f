// Package estake is effective proof of stake: who is elected, with how many
// votes, and what they earn.
package estake
