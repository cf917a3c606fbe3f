package quicnet

// Certificate lets tests connect as a hostile peer.
var Certificate = certificate
