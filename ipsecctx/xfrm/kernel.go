package xfrm

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// kernel is what a gateway needs of the kernel, and all of it: a [uapi.Conn] on
// a real one, a fake in most tests.
type kernel interface {
	Batch(ctx context.Context, requests []uapi.Request) ([]uapi.Result, error)
	States(ctx context.Context, f uapi.Filter) iter.Seq2[*uapi.State, error]
	Policies(ctx context.Context) iter.Seq2[*uapi.Policy, error]
	Watch(ctx context.Context, groups ...uapi.Group) (iter.Seq2[uapi.Event, error], error)
}

// each makes many requests and returns their results, of which the first that
// failed, if one did, gives the error.
func (g *Gateway) each(ctx context.Context, requests []uapi.Request) ([]uapi.Result, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	results, err := g.kernel.Batch(ctx, requests)
	for i := range results {
		if results[i].Err != nil {
			return results, results[i].Err
		}
	}
	if err == nil && len(results) != len(requests) {
		err = fmt.Errorf("the kernel answered %d of %d requests", len(results), len(requests))
	}
	return results, err
}

// erase makes requests that delete: what is gone already is no error, and one
// that fails does not keep the others from being made.
func (g *Gateway) erase(ctx context.Context, requests []uapi.Request) error {
	if len(requests) == 0 {
		return nil
	}
	results, err := g.kernel.Batch(ctx, requests)
	errs := []error{err}
	for _, r := range results {
		if r.State != nil {
			r.State.Wipe()
		}
		if gone := errors.Is(r.Err, uapi.ErrNotFound) || errors.Is(r.Err, uapi.ErrFinalUnknown); !gone {
			errs = append(errs, r.Err)
		}
	}
	return errors.Join(errs...)
}

func addState(s *uapi.State) uapi.Request {
	return uapi.Request{Op: uapi.OpAddState, State: s, ID: s.ID()}
}

func deleteState(id uapi.StateID) uapi.Request {
	return uapi.Request{Op: uapi.OpDeleteState, ID: id}
}

func deletePolicy(id uapi.PolicyID) uapi.Request {
	return uapi.Request{Op: uapi.OpDeletePolicy, PolicyID: id}
}
