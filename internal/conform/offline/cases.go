package offline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/rfc"
	"github.com/cxtp/cxtp/testvectors"
)

// Cases makes the cases of all vectors of package testvectors.
func Cases(subject Subject) ([]conform.Case, error) {
	dirs, err := testvectors.Subjects()
	if err != nil {
		return nil, err
	}
	var cases []conform.Case
	for _, dir := range dirs {
		vectors, err := testvectors.Load(dir)
		if err != nil {
			return nil, err
		}
		some, err := CasesOf(subject, vectors)
		if err != nil {
			return nil, err
		}
		cases = append(cases, some...)
	}
	return cases, nil
}

// CasesOf makes the cases of some vectors, each a question to the subject. The name
// of a case is its question and its vector's name. It fails on a vector that asks
// for something that is not in it.
func CasesOf(subject Subject, vectors []testvectors.Vector) ([]conform.Case, error) {
	var cases []conform.Case
	for _, v := range vectors {
		some, err := casesOf(subject, v)
		if err != nil {
			return nil, fmt.Errorf("failed to make a case of the vector %q: %w", v.Name, err)
		}
		cases = append(cases, some...)
	}
	return cases, nil
}

// question is a request and what a right answer to it is.
type question struct {
	request Request
	expect  string
	judge   func(Answer) conform.Finding
}

// casesOf makes the cases of one vector. There are none of a kind that no op is
// about.
func casesOf(subject Subject, v testvectors.Vector) ([]conform.Case, error) {
	questions, err := questionsOf(v)
	if err != nil {
		return nil, err
	}
	var cases []conform.Case
	for _, q := range questions {
		cases = append(cases, conform.Case{
			Name: fmt.Sprintf("%s: %s", q.request.Op, nameOf(v)), Rows: v.Rows, Section: v.Section,
			Level: levelOf(v.Rows), Expect: q.expect,
			Run: func(ctx context.Context) conform.Finding {
				answer, err := subject.Ask(ctx, q.request)
				switch {
				case ctx.Err() != nil:
					return conform.Skip("interrupted")
				case err != nil:
					return conform.Fail("%v", err)
				case answer.Error != "":
					return conform.Fail("it says %s", quote(answer.Error))
				case answer.Unsupported != "":
					return conform.Skip("unsupported: %s", quote(answer.Unsupported))
				}
				return q.judge(answer)
			},
		})
	}
	return cases, nil
}

// strength orders the levels, the most binding first.
var strength = []rfc.Level{rfc.MustNot, rfc.Must, rfc.Constant, rfc.ShouldNot, rfc.Should, rfc.May}

// levelOf is the level of what shows several rows: the most binding of theirs. What
// no row is about, our profiles want.
func levelOf(rows []string) rfc.Level {
	first := len(strength)
	for _, id := range rows {
		if row, found := rfc.Find(id); found {
			first = min(first, slices.Index(strength, row.Level))
		}
	}
	if first == len(strength) {
		return rfc.Must
	}
	return strength[first]
}

// nameOf names a vector whose name does not say what it is about.
func nameOf(v testvectors.Vector) string {
	if strings.HasPrefix(v.Name, v.Type) {
		return v.Name
	}
	return v.Type + ", " + v.Name
}

func questionsOf(v testvectors.Vector) ([]question, error) {
	digits, err := tidy(v.Hex)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Type == "node keys":
		return nil, nil // an exchange, not octets to read
	case v.Type == "token":
		q, err := tokenQuestion(v, digits)
		return []question{q}, err
	}
	kind := v.Type
	if isMessage(v.Type) {
		kind = kindMessage
	}
	if !v.Valid && v.Error.Layer == testvectors.LayerToken {
		return []question{verifyQuestion(v, digits)}, nil
	}
	if !v.Valid {
		return []question{refusedQuestion(v, kind, digits)}, nil
	}
	var questions []question
	canonical, err := tidy(cmp.Or(v.Canonical, v.Hex))
	if err != nil {
		return nil, err
	}
	if v.Message != nil {
		questions = append(questions, decodeQuestion(v, digits), encodeQuestion(v, canonical))
	} else {
		questions = append(questions, question{
			Request{Op: OpRecode, Kind: kind, Hex: digits},
			"decode and encode it to " + canonical,
			func(a Answer) conform.Finding { return sameOctets(a, canonical) },
		})
	}
	if v.Key != "" {
		questions = append(questions, verifyQuestion(v, digits))
	}
	return questions, nil
}

// isOfRFC tells RFC 4067's own messages, and those of a type that nobody has
// defined, from all else.
func isOfRFC(kind string) bool {
	switch kind {
	case "CTAR", "CTAA", "CTD", "PCTD", "CTDR", "CTC", "CT-Req", "unknown":
		return true
	}
	return false
}

// isMessage tells whole messages from blocks.
func isMessage(kind string) bool {
	return isOfRFC(kind) || kind == "Outcome" || kind == "Update" || kind == "UpdateAck"
}

func decodeQuestion(v testvectors.Vector, digits string) question {
	return question{
		Request{Op: OpDecode, Kind: kindMessage, Hex: digits},
		"decode it to " + compact(v.Message),
		func(a Answer) conform.Finding { return sameMessage(a, v.Message) },
	}
}

func encodeQuestion(v testvectors.Vector, canonical string) question {
	return question{
		Request{Op: OpEncode, Message: v.Message},
		"encode it to " + canonical,
		func(a Answer) conform.Finding { return sameOctets(a, canonical) },
	}
}

func refusedQuestion(v testvectors.Vector, kind, digits string) question {
	op := OpRecode
	if isOfRFC(v.Type) {
		op = OpDecode
	}
	return question{
		Request{Op: op, Kind: kind, Hex: digits},
		fmt.Sprintf("refuse it as a %s, because of %s at octet %d", v.Error.Layer, v.Error.Field, v.Error.Offset),
		func(a Answer) conform.Finding { return refused(a, v.Error.Layer) },
	}
}

func verifyQuestion(v testvectors.Vector, digits string) question {
	expect := "accept its token or MAC"
	if !v.Valid {
		expect = "read it, and not accept its token or MAC"
	}
	return question{
		Request{Op: OpVerify, Kind: kindMessage, Hex: digits, Key: v.Key},
		expect,
		func(a Answer) conform.Finding {
			switch {
			case a.Valid == nil:
				return otherAnswer(a, "valid")
			case *a.Valid != v.Valid:
				return conform.Fail("it says that the token or MAC is right: %t", *a.Valid)
			}
			return conform.Pass()
		},
	}
}

func tokenQuestion(v testvectors.Vector, digits string) (question, error) {
	sequence, err := strconv.ParseUint(v.Fields["Sequence Number"], 10, 32)
	if err != nil {
		return question{}, fmt.Errorf("failed to read its sequence number: %w", err)
	}
	want := v.Fields["MN Authorization Token"]
	return question{
		Request{
			Op: OpToken, Hex: digits, Key: v.Key,
			Previous: v.Fields["MN's Previous IP Address"], Sequence: uint32(sequence),
		},
		"compute the token " + want,
		func(a Answer) conform.Finding {
			switch {
			case a.Token == "":
				return otherAnswer(a, "token")
			case !strings.EqualFold(a.Token, want):
				return conform.Fail("the token is %s", quote(a.Token))
			}
			return conform.Pass()
		},
	}, nil
}
