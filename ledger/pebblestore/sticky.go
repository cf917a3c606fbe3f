package pebblestore

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// sticky is pebble's logger. It keeps the first fatal error and lets the
// process live.
type sticky struct {
	log *slog.Logger // may be nil
	err atomic.Pointer[error]
}

func (s *sticky) load() error {
	if p := s.err.Load(); p != nil {
		return *p
	}
	return nil
}

// set keeps err if it is the first.
func (s *sticky) set(err error) {
	if s.err.CompareAndSwap(nil, &err) && s.log != nil {
		s.log.Error("pebble: writing stops", "error", err)
	}
}

// Infof implements pebble.Logger.
func (s *sticky) Infof(format string, args ...any) {
	if s.log != nil {
		s.log.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (s *sticky) Errorf(format string, args ...any) {
	if s.log != nil {
		s.log.Error("pebble: " + fmt.Sprintf(format, args...))
	}
}

// Fatalf implements pebble.Logger. Unlike what pebble expects, it returns.
func (s *sticky) Fatalf(format string, args ...any) {
	s.set(fmt.Errorf(format, args...))
}

// listen makes background failures stop the store too: pebble would retry
// them for ever while its memory fills. A listener of the caller still hears
// everything.
func (s *sticky) listen(o *pebble.Options) {
	own := &pebble.EventListener{
		BackgroundError: func(err error) { s.set(err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.set(fmt.Errorf("damaged file %s: %w", info.Path, info.Details))
		},
	}
	if o.EventListener != nil {
		tee := pebble.TeeEventListener(*own, *o.EventListener)
		own = &tee
	}
	o.EventListener = own
}
