package drg

import (
	"context"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/vdf"
)

// evaluate computes the output that CheckOutput accepts. It runs in a worker
// and measures itself, so it stands outside the core, which has no clock.
func (p *Params) evaluate(ctx context.Context, epoch shardkit.Epoch, pRnd shardkit.Hash) evaluated {
	start := time.Now()
	res := evaluated{pRnd: pRnd, epoch: epoch}
	v, err := p.vdf(epoch)
	if err != nil {
		res.err = err
		return res
	}
	res.output, res.err = v.Evaluate(ctx, p.vdfInput(epoch, pRnd), p.T, vdf.Options{})
	res.took = time.Since(start)
	return res
}
