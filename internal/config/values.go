package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// Duration is a time written with its unit: "200ms", "1m30s". It is no integer, or a
// number without a unit would be taken for nanoseconds.
type Duration struct{ time.Duration }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: write a number and a unit, for example \"200ms\", \"5s\" or \"1m\"", text)
	}
	d.Duration = parsed
	return nil
}

// HexKey is a key in hexadecimal. Its errors do not quote it.
type HexKey struct{ secret.Key }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *HexKey) UnmarshalText(text []byte) error {
	octets := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(octets, text); err != nil || len(octets) == 0 {
		return errors.New("a key must be hexadecimal digits, two an octet, and at least one octet")
	}
	k.Key = secret.New(octets)
	return nil
}

// Where says where a TOML error is, without the text around it, which may have
// keys. help says where the settings are listed.
func Where(err error, help string) error {
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown) && len(unknown.Errors) > 0:
		line, _ := unknown.Errors[0].Position()
		return fmt.Errorf("line %d: %s is not a setting; %s", line, strings.Join(unknown.Errors[0].Key(), "."), help)
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		return fmt.Errorf("line %d, column %d: %s", line, column, inWords(wrong))
	}
	return err
}

// mistyped is how the decoder says that a value is of another type than its key, in the
// words of this program's source.
var mistyped = regexp.MustCompile(`cannot decode TOML (.+) into (?:.* of type )?(\S+)$`)

// inWords is what the decoder found wrong.
func inWords(err *toml.DecodeError) string {
	text := strings.TrimPrefix(err.Error(), "toml: ")
	m := mistyped.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	wanted := "text in quotes"
	switch kind := m[2]; {
	case strings.HasPrefix(kind, "[]"):
		wanted = "a list in square brackets"
	case kind == "bool":
		wanted = "true or false"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		wanted = "a number without quotes"
	case strings.HasPrefix(kind, "config."), strings.HasPrefix(kind, "map["):
		if m[1] == "string" {
			wanted = "a table"
		}
	}
	return fmt.Sprintf("this is of the TOML type %s: write %s", m[1], wanted)
}

// Mode is a [cxtp.MoveMode] written as a word.
type Mode cxtp.MoveMode

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *Mode) UnmarshalText(text []byte) error {
	switch string(text) {
	case cxtp.ModeLossless.String():
		*m = Mode(cxtp.ModeLossless)
		return nil
	case cxtp.ModeStrict.String():
		*m = Mode(cxtp.ModeStrict)
		return nil
	}
	return fmt.Errorf("%q is no mode: write \"lossless\" or \"strict\"", text)
}

// SPIConflict is what a session gets whose inbound SPI is taken here.
type SPIConflict string

// The answers to an SPI conflict.
const (
	Deny        SPIConflict = "deny"
	Renegotiate SPIConflict = "renegotiate"
	Reassign    SPIConflict = "reassign"
)

// Pull is a [cxtp.PullPolicy] written as a word.
type Pull cxtp.PullPolicy

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Pull) UnmarshalText(text []byte) error {
	switch string(text) {
	case "off":
		*p = Pull(cxtp.PullOff)
	case "stage":
		*p = Pull(cxtp.PullStage)
	case "move":
		*p = Pull(cxtp.PullMove)
	default:
		return fmt.Errorf("%q is no pull policy: write \"off\", \"stage\" or \"move\"", text)
	}
	return nil
}

// Timers are the machine's times, those of [cxtp.Timers].
type Timers struct {
	MaxTransfer    Duration `toml:"max_transfer"`
	RequestWait    Duration `toml:"request_wait"`
	StageHold      Duration `toml:"stage_hold"`
	Repeat         Duration `toml:"repeat"`
	RepeatMax      Duration `toml:"repeat_max"`
	FreezeDeadline Duration `toml:"freeze_deadline"`
	SteerDeadline  Duration `toml:"steer_deadline"`
	Grace          Duration `toml:"grace"`
	UpdateRepeat   Duration `toml:"update_repeat"`
	UpdateGiveUp   Duration `toml:"update_give_up"`
	CloseWait      Duration `toml:"close_wait"`
	CloseGiveUp    Duration `toml:"close_give_up"`
	StandbyEvery   Duration `toml:"standby_every"`
	StandbyHold    Duration `toml:"standby_hold"`
	Remember       Duration `toml:"remember"`
	Lease          Duration `toml:"lease"`
}

func defaultTimers() Timers {
	t := cxtp.DefaultTimers()
	return Timers{
		MaxTransfer:    Duration{t.MaxTransfer},
		RequestWait:    Duration{t.RequestWait},
		StageHold:      Duration{t.StageHold},
		Repeat:         Duration{t.Repeat},
		RepeatMax:      Duration{t.RepeatMax},
		FreezeDeadline: Duration{t.FreezeDeadline},
		SteerDeadline:  Duration{t.SteerDeadline},
		Grace:          Duration{t.Grace},
		UpdateRepeat:   Duration{t.UpdateRepeat},
		UpdateGiveUp:   Duration{t.UpdateGiveUp},
		CloseWait:      Duration{t.CloseWait},
		CloseGiveUp:    Duration{t.CloseGiveUp},
		StandbyEvery:   Duration{t.StandbyEvery},
		StandbyHold:    Duration{t.StandbyHold},
		Remember:       Duration{t.Remember},
		Lease:          Duration{t.Lease},
	}
}

// MachineTimers returns the machine's times.
func (c *Config) MachineTimers() cxtp.Timers {
	t := c.Timers
	return cxtp.Timers{
		MaxTransfer:    t.MaxTransfer.Duration,
		RequestWait:    t.RequestWait.Duration,
		StageHold:      t.StageHold.Duration,
		Repeat:         t.Repeat.Duration,
		RepeatMax:      t.RepeatMax.Duration,
		FreezeDeadline: t.FreezeDeadline.Duration,
		SteerDeadline:  t.SteerDeadline.Duration,
		Grace:          t.Grace.Duration,
		UpdateRepeat:   t.UpdateRepeat.Duration,
		UpdateGiveUp:   t.UpdateGiveUp.Duration,
		CloseWait:      t.CloseWait.Duration,
		CloseGiveUp:    t.CloseGiveUp.Duration,
		StandbyEvery:   t.StandbyEvery.Duration,
		StandbyHold:    t.StandbyHold.Duration,
		Remember:       t.Remember.Duration,
		Lease:          t.Lease.Duration,
	}
}
