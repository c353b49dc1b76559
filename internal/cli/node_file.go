package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
)

// nodeFile is the configuration of a node's agent; nodeHelp explains it.
type nodeFile struct {
	Listen    string                        `toml:"listen"`
	Previous  netip.Addr                    `toml:"previous"`
	Session   cxtp.SessionID                `toml:"session"`
	Algorithm cxtp.Algorithm                `toml:"token_algorithm"`
	UpdateKey config.HexKey                 `toml:"update_key"`
	Tokens    []fileToken                   `toml:"token"`
	TokenFile string                        `toml:"token_file"`
	ReqID     uint32                        `toml:"kernel_reqid"`
	OnUpdate  []string                      `toml:"on_update"`
	Routers   map[netip.Addr]netip.AddrPort `toml:"routers"`
	Types     []cxtp.FPT                    `toml:"types"`
	Retry     config.Duration               `toml:"retry"`
	RetryMax  config.Duration               `toml:"retry_max"`

	node  cxtp.NodeState // the keys
	state string         // where the state is kept
}

type fileToken struct {
	Number uint32        `toml:"number"`
	Key    config.HexKey `toml:"key"`
}

// loadNode reads and checks a node's file and its token file.
func loadNode(path string) (*nodeFile, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	f := nodeFile{Algorithm: cxtp.AlgorithmHMACSHA256, Retry: config.Duration{Duration: cxtp.DefaultRequestRetry}, RetryMax: config.Duration{Duration: cxtp.DefaultRetryMax}}
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return nil, fmt.Errorf("failed to read %s: %w", path, config.Where(err, "cxtp mn --help lists them"))
	}
	f.state = path + ".state"
	if f.TokenFile != "" {
		if err := f.loadTokens(beside(path, f.TokenFile)); err != nil {
			return nil, err
		}
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &f, nil
}

// beside is a file that is named from the folder of another one.
func beside(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(path), name)
}

func (f *nodeFile) loadTokens(path string) error {
	if len(f.Tokens) > 0 {
		return errors.New("there are both token_file and [[token]]: keep one of them")
	}
	text, err := readPrivate(path)
	if err != nil {
		return err
	}
	defer clear(text)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		var t fileToken
		number, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil || len(fields) != 2 || t.Key.UnmarshalText([]byte(fields[1])) != nil {
			return fmt.Errorf("%s, line %d: want a number and a key in hexadecimal", path, n)
		}
		t.Number = uint32(number)
		f.Tokens = append(f.Tokens, t)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("failed to read %s: %w", path, err)
	}
	return nil
}

// check says what is missing or wrong, and gathers the keys.
func (f *nodeFile) check() error {
	switch {
	case !f.Previous.IsValid():
		return errors.New("previous is missing: the address that routers know this node by")
	case f.Session.IsZero():
		return errors.New("session is missing: the session id, 32 hexadecimal digits")
	case f.Retry.Duration <= 0:
		return fmt.Errorf("retry is %s: it must be above 0s", f.Retry)
	case f.RetryMax.Duration < f.Retry.Duration:
		return fmt.Errorf("retry_max is %s: it must be at least retry, %s", f.RetryMax, f.Retry)
	case f.UpdateKey.IsZero():
		return errors.New("update_key is missing: without it no update can be believed")
	}
	if err := f.Algorithm.CheckKey(f.UpdateKey.Key); err != nil {
		return fmt.Errorf("update_key: %w", err)
	}
	f.node.Algorithm, f.node.UpdateKey = f.Algorithm, f.UpdateKey.Key
	for i, t := range f.Tokens {
		if t.Key.IsZero() {
			return fmt.Errorf("token %d has no key", t.Number)
		}
		if err := f.Algorithm.CheckKey(t.Key.Key); err != nil {
			return fmt.Errorf("token %d: %w", t.Number, err)
		}
		if i > 0 && t.Number <= f.Tokens[i-1].Number {
			return fmt.Errorf("token %d comes after token %d: the numbers must ascend", t.Number, f.Tokens[i-1].Number)
		}
		f.node.Tokens = append(f.node.Tokens, cxtp.NumberedKey{Number: t.Number, Key: t.Key.Key})
	}
	return nil
}

// readPrivate reads a file with keys, and refuses one that others may read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s; the command's --help shows what is in it", path)
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has keys and other users may open it: chmod 600 %s", path, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return text, nil
}

// unreadable says who may read a file with keys.
func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("this user may not read %s: run the command as its owner, or as root: %w", path, err)
	}
	return fmt.Errorf("failed to read %s: %w", path, err)
}
