package features

import (
	"context"
	"errors"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

func optional(f Feature) bool {
	o, ok := f.(Optional)
	return ok && o.Optional()
}

// leave leaves a feature out of an attempt.
func (s *Set) leave(ref Ref, f Feature) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out[ref.Session] = append(s.out[ref.Session], f)
}

// forget ends an attempt, or begins one: every feature takes part again.
func (s *Set) forget(ref Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.out, ref.Session)
}

// parts are the features that take part in an attempt, in the order given.
func (s *Set) parts(ref Ref, order []Feature) []Feature {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.out[ref.Session]
	if len(out) == 0 {
		return order
	}
	return slices.DeleteFunc(slices.Clone(order), func(f Feature) bool { return slices.Contains(out, f) })
}

// gather runs a reading operation on every feature that takes part, in the order
// given and whatever the others say, and leaves out optional ones that fail.
func (s *Set) gather(ref Ref, order []Feature, op func(Feature) (Snapshot, error)) (Snapshot, error) {
	var all Snapshot
	var failed error
	var missing Partial
	for _, f := range s.parts(ref, order) {
		one, err := op(f)
		if err != nil && optional(f) {
			s.leave(ref, f)
			missing.failed(f, err)
			continue
		}
		failed = errors.Join(failed, err)
		all.Blocks = join(all.Blocks, one.Blocks)
		all.Manifest = join(all.Manifest, one.Manifest)
	}
	if failed != nil {
		return all, failed
	}
	return all, missing.orNil()
}

// join appends b to a; to nothing it need not be copied.
func join[T any](a, b []T) []T {
	if len(a) == 0 {
		return b
	}
	return append(a, b...)
}

// each is gather for operations that read nothing.
func (s *Set) each(ref Ref, order []Feature, op func(Feature) error) error {
	_, err := s.gather(ref, order, func(f Feature) (Snapshot, error) { return Snapshot{}, op(f) })
	return err
}

// start runs an operation that starts what is staged, and says whether a feature
// had anything to start. See [Set.Activate] for what becomes of failures.
func (s *Set) start(ctx context.Context, ref Ref, op func(Feature) (bool, error)) error {
	var missing Partial
	running := false
	for _, f := range s.parts(ref, s.up) {
		something, err := op(f)
		switch {
		case err == nil:
			running = running || something
			continue
		case optional(f):
			err = errors.Join(err, f.Discard(ctx, ref))
		case !running:
			return err
		}
		s.leave(ref, f)
		missing.failed(f, err)
	}
	return missing.orNil()
}

// add notes a context type that is missing.
func (p *Partial) add(t cxtp.FPT, st cxtp.Status, err error) {
	p.Statuses = append(p.Statuses, cxtp.ContextStatus{FPT: t, Status: st})
	p.Err = errors.Join(p.Err, err)
}

// failed notes an optional feature that failed; one that does not say what of it
// did is named by its first context type.
func (p *Partial) failed(f Feature, err error) {
	st := Statuses(err)[0]
	if st.FPT == cxtp.FPTControl {
		st.FPT = f.FPTs()[0]
	}
	p.add(st.FPT, st.Status, err)
}

// orNil is the error of an operation with these contexts missing.
func (p Partial) orNil() error {
	if len(p.Statuses) == 0 {
		return nil
	}
	some := p // on the heap only now
	return &some
}

// lacking adds what is missing for another reason to an operation's error; one
// that failed stays one.
func lacking(err error, more *Partial) error {
	also, ok := err.(*Partial)
	switch {
	case err == nil:
		return more.orNil()
	case ok && more.orNil() != nil:
		return &Partial{append(also.Statuses, more.Statuses...), errors.Join(also.Err, more.Err)}
	}
	return err
}

// Statuses turns the error of an operation that failed into what the other
// gateway is told.
func Statuses(err error) []cxtp.ContextStatus {
	if _, ok := err.(*Partial); ok || err == nil {
		return nil
	}
	var refusal *Error
	if errors.As(err, &refusal) {
		return []cxtp.ContextStatus{{FPT: refusal.FPT, Status: refusal.Status}}
	}
	return []cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusInternal}}
}

// Missing turns the error of an operation that succeeded in part into what the
// other gateway is told.
func Missing(err error) []cxtp.ContextStatus {
	if p, ok := err.(*Partial); ok {
		return p.Statuses
	}
	return nil
}
