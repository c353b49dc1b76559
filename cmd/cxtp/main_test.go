package main

import (
	"errors"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cxtp/cxtp/internal/conform/rig"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cxtp": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[routerKey{}] = new(*rig.Rig)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"router": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(router(t, ts, args)) },
		},
	})
}

// routerKey is where a script keeps its router.
type routerKey struct{}

// router starts our own daemon as a router to be checked, with its files in the
// script's folder, or stops it.
func router(t *testing.T, ts *testscript.TestScript, args []string) error {
	running := ts.Value(routerKey{}).(**rig.Rig)
	switch {
	case len(args) == 1 && args[0] == "start":
		program, err := rig.Build(t.Context(), ts.MkAbs("."))
		if err == nil {
			*running, err = rig.Start(t.Context(), program, ts.MkAbs("."))
		}
		return err
	case len(args) == 1 && args[0] == "stop":
		return (*running).Stop()
	}
	return errors.New("usage: router start|stop")
}
