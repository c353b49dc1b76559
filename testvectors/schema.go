package testvectors

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// schemaText is the form of a file of vectors as a JSON Schema, for everybody, and
// for this package: schema reads as many of its keywords as the document uses.
//
//go:embed schema.json
var schemaText []byte

// schema is a JSON Schema of draft 2020-12. A keyword that is not here is an error
// where the document is read, so none is ever passed over.
type schema struct {
	Ref                  string              `json:"$ref"`
	Defs                 map[string]*schema  `json:"$defs"`
	Type                 string              `json:"type"`
	Enum                 []string            `json:"enum"`
	Const                *bool               `json:"const"`
	Pattern              *pattern            `json:"pattern"`
	MinLength            int                 `json:"minLength"`
	Minimum              *int64              `json:"minimum"`
	Maximum              *int64              `json:"maximum"`
	Items                *schema             `json:"items"`
	MinItems             int                 `json:"minItems"`
	Properties           map[string]*schema  `json:"properties"`
	Required             []string            `json:"required"`
	AdditionalProperties *schema             `json:"additionalProperties"`
	DependentRequired    map[string][]string `json:"dependentRequired"`
	If                   *schema             `json:"if"`
	Then                 *schema             `json:"then"`
	Else                 *schema             `json:"else"`

	// For people.
	Dialect     string `json:"$schema"`
	ID          string `json:"$id"`
	Title       string `json:"title"`
	Description string `json:"description"`

	never bool // the schema false, which nothing meets
}

// UnmarshalJSON implements [json.Unmarshaler]: a schema is an object, true or false.
func (s *schema) UnmarshalJSON(text []byte) error {
	var always bool
	if json.Unmarshal(text, &always) == nil {
		*s = schema{never: !always}
		return nil
	}
	type plain schema
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*plain)(s))
}

// pattern is a regular expression.
type pattern struct{ *regexp.Regexp }

func (p *pattern) UnmarshalText(text []byte) (err error) {
	p.Regexp, err = regexp.Compile(string(text))
	return err
}

// form is the form of a file of vectors.
var form = sync.OnceValue(func() *schema {
	root := new(schema)
	if err := json.Unmarshal(schemaText, root); err != nil {
		panic(err) // the document is part of this package
	}
	return root
})

// checker walks through a document along its schema.
type checker struct {
	root *schema
	path []string // to the value at hand, as a JSON pointer has it
}

// broken is the first place where the document breaks the schema.
type broken struct{ path, reason string }

func (c *checker) wrong(format string, args ...any) *broken {
	var pointer strings.Builder
	for _, part := range c.path {
		pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return &broken{pointer.String(), fmt.Sprintf(format, args...)}
}

// inside checks a value one step further down.
func (c *checker) inside(step string, s *schema, value any) *broken {
	c.path = append(c.path, step)
	defer func() { c.path = c.path[:len(c.path)-1] }()
	return c.check(s, value)
}

// check finds the first thing that is wrong with a value, nil if nothing is.
func (c *checker) check(s *schema, value any) *broken {
	if s.never {
		return c.wrong("it must not be here")
	}
	if s.Ref != "" {
		if b := c.check(c.root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")], value); b != nil {
			return b
		}
	}
	if s.Type != "" && kindOf(value) != s.Type {
		return c.wrong("it is of type %s, it should be of type %s", kindOf(value), s.Type)
	}
	if s.Const != nil && value != *s.Const {
		return c.wrong("it should be %t", *s.Const)
	}
	var b *broken
	switch value := value.(type) {
	case string:
		b = c.text(s, value)
	case json.Number:
		b = c.number(s, value)
	case []any:
		b = c.array(s, value)
	case map[string]any:
		b = c.object(s, value)
	}
	if b != nil || s.If == nil {
		return b
	}
	branch := s.Else
	if (&checker{root: c.root}).check(s.If, value) == nil {
		branch = s.Then
	}
	if branch == nil {
		return nil
	}
	return c.check(branch, value)
}

// kindOf is a value's type in a schema's words.
func kindOf(value any) string {
	switch value := value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		if _, err := value.Int64(); err == nil {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}

func (c *checker) text(s *schema, value string) *broken {
	switch {
	case utf8.RuneCountInString(value) < s.MinLength:
		return c.wrong("it is empty")
	case s.Enum != nil && !slices.Contains(s.Enum, value):
		return c.wrong("it should be one of %q", s.Enum)
	case s.Pattern != nil && !s.Pattern.MatchString(value):
		return c.wrong("it should match %s", s.Pattern)
	}
	return nil
}

func (c *checker) number(s *schema, value json.Number) *broken {
	n, err := value.Int64()
	switch {
	case err != nil:
		return nil // check has compared the type
	case s.Minimum != nil && n < *s.Minimum:
		return c.wrong("%d is below %d", n, *s.Minimum)
	case s.Maximum != nil && n > *s.Maximum:
		return c.wrong("%d is above %d", n, *s.Maximum)
	}
	return nil
}

func (c *checker) array(s *schema, value []any) *broken {
	if len(value) < s.MinItems {
		return c.wrong("it is empty")
	}
	if s.Items == nil {
		return nil
	}
	for i, item := range value {
		if b := c.inside(fmt.Sprint(i), s.Items, item); b != nil {
			return b
		}
	}
	return nil
}

func (c *checker) object(s *schema, value map[string]any) *broken {
	for _, name := range s.Required {
		if _, ok := value[name]; !ok {
			return c.wrong("it has no %q", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(value)) {
		for _, other := range s.DependentRequired[name] {
			if _, ok := value[other]; !ok {
				return c.wrong("it has a %q and no %q", name, other)
			}
		}
		property, known := s.Properties[name]
		if !known {
			property = s.AdditionalProperties
		}
		if property == nil {
			continue
		}
		if b := c.inside(name, property, value[name]); b != nil {
			return b
		}
	}
	return nil
}
