package tlog

import (
	"fmt"
	"slices"
	"strings"

	"ampoule/format"
)

// The kinds of defect of policies, and of checkpoints that do not satisfy one.
const (
	ErrPolicy     = format.Defect("malformed-policy")
	ErrPolicySize = format.Defect("policy-too-large")
	ErrUnknownLog = format.Defect("unknown-log")
	ErrQuorum     = format.Defect("quorum-not-met")
)

// The bounds of a policy file. The specification asks for 32 logs, 32 witnesses
// and 32 groups.
const (
	MaxPolicy = 1 << 20 // bytes

	maxPolicyLines = 256 // of each kind
)

// Policy says which checkpoints count (C2SP tlog-policy): those that one of the
// logs has signed, under its origin as name, and that witnesses have cosigned as
// the quorum asks. It is read from lines of text:
//
//	log <vkey> [<url>]
//	witness <name> <vkey> [<url>]
//	group <name> all|any|<k> <name>...
//	quorum <name>|none
//
// A name is defined before it is used, and a member of one group at most, so that
// a witness counts in one way only. Empty lines and lines that begin with # are
// passed over.
type Policy struct {
	Logs      []PolicyLog
	Witnesses []Witness
	Groups    []Group
	Quorum    string // name of a witness or group; "none"
}

// NoQuorum is the quorum that asks for no witness.
const NoQuorum = "none"

// PolicyLog is a log whose checkpoints count.
type PolicyLog struct {
	Key *Key // its name is the origin
	URL string
}

// Witness is a cosigner that may be counted.
type Witness struct {
	Name string // means something within the policy only
	Key  *Key
	URL  string
}

// Group counts as one witness where Need of its members do.
type Group struct {
	Name    string
	Need    int
	Members []string // witnesses and groups that are defined before
}

// ParsePolicy reads a policy file.
func ParsePolicy(data []byte) (*Policy, error) {
	if len(data) > MaxPolicy {
		return nil, fmt.Errorf("policy of %d bytes: %w", len(data), ErrPolicySize)
	}
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return nil, fmt.Errorf("policy: the last line has no end: %w", ErrPolicy)
	}
	for _, c := range data {
		if c < ' ' && c != '\t' && c != '\n' || c == 0x7f {
			return nil, fmt.Errorf("policy: control character %#02x: %w", c, ErrPolicy)
		}
	}
	p := policyParser{Policy: new(Policy), defined: map[string]bool{NoQuorum: true}, member: map[string]bool{}}
	for i, line := range strings.Split(string(data), "\n") {
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if err := p.line(fields); err != nil {
			return nil, fmt.Errorf("policy: line %d: %w", i+1, err)
		}
	}
	if p.Quorum == "" {
		return nil, fmt.Errorf("policy: no quorum: %w", ErrPolicy)
	}
	if len(p.Logs) > maxPolicyLines || len(p.Witnesses) > maxPolicyLines || len(p.Groups) > maxPolicyLines {
		return nil, fmt.Errorf("policy: %d logs, %d witnesses, %d groups: %w", len(p.Logs), len(p.Witnesses), len(p.Groups), ErrPolicySize)
	}
	return p.Policy, nil
}

type policyParser struct {
	*Policy
	defined map[string]bool // witnesses, groups and "none"
	member  map[string]bool // of some group
}

func (p *policyParser) line(fields []string) error {
	bad := func(what string) error { return fmt.Errorf("%s: %w", what, ErrPolicy) }
	kind, fields := fields[0], fields[1:]
	switch {
	case kind == "log" && (len(fields) == 1 || len(fields) == 2):
		k, err := ParseKey(fields[0])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.Logs, func(l PolicyLog) bool { return l.Key.same(k) }) {
			return bad("a log twice")
		}
		p.Logs = append(p.Logs, PolicyLog{k, optional(fields, 1)})
	case kind == "witness" && (len(fields) == 2 || len(fields) == 3):
		k, err := ParseKey(fields[1])
		if err != nil {
			return err
		}
		if k.Type == Ed25519Note {
			return bad("a witness whose key makes no cosignatures")
		}
		if slices.ContainsFunc(p.Witnesses, func(w Witness) bool { return w.Key.same(k) }) {
			return bad("a witness twice")
		}
		if p.defined[fields[0]] {
			return bad("a name twice")
		}
		p.defined[fields[0]] = true
		p.Witnesses = append(p.Witnesses, Witness{fields[0], k, optional(fields, 2)})
	case kind == "group" && len(fields) >= 3:
		g := Group{Name: fields[0], Members: fields[2:]}
		switch fields[1] {
		case "all":
			g.Need = len(g.Members)
		case "any":
			g.Need = 1
		default:
			n, err := parseDecimal(fields[1])
			if err != nil || n < 1 || n > uint64(len(g.Members)) {
				return bad("how many members")
			}
			g.Need = int(n)
		}
		for _, m := range g.Members {
			if m == NoQuorum || !p.defined[m] || p.member[m] {
				return bad("a member that is not defined, or in a group already")
			}
			p.member[m] = true
		}
		if p.defined[g.Name] {
			return bad("a name twice")
		}
		p.defined[g.Name] = true
		p.Groups = append(p.Groups, g)
	case kind == "quorum" && len(fields) == 1:
		if p.Quorum != "" || !p.defined[fields[0]] {
			return bad("a second quorum, or one that is not defined")
		}
		p.Quorum = fields[0]
	default:
		return bad("not a log, witness, group or quorum")
	}
	return nil
}

func optional(fields []string, i int) string {
	if i < len(fields) {
		return fields[i]
	}
	return ""
}

// Cosigned is what a policy says of a checkpoint whose signatures were verified.
type Cosigned struct {
	Checkpoint *Checkpoint
	Log        *Key        // the first log's key that has signed
	Witnesses  []Witnessed // in the order of the policy
	Groups     []Standing  // in the order of the policy
	Quorum     bool
}

// Witnessed is a witness that has cosigned.
type Witnessed struct {
	Name string
	Time int64 // of its newest cosignature, seconds since 1970; may be 0 of ML-DSA-44: no time is stated
}

// Standing is how many members of a group have cosigned.
type Standing struct {
	Name       string
	Have, Need int
}

// Open verifies a signed checkpoint. ErrQuorum comes with the answer, for whoever
// wants to know which witnesses are missing; nothing else does.
//
// How old a checkpoint may be is not the policy's to say: the times of the
// witnesses are in the answer.
func (p *Policy) Open(data []byte) (*Cosigned, error) {
	n, err := ParseNote(data)
	if err != nil {
		return nil, err
	}
	keys := make([]*Key, 0, len(p.Logs)+len(p.Witnesses))
	for _, l := range p.Logs {
		keys = append(keys, l.Key)
	}
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}
	verified, err := n.Verify(keys...)
	if err != nil {
		return nil, err
	}
	c := new(Cosigned)
	if c.Checkpoint, err = ParseCheckpoint(n.Text); err != nil {
		return nil, err
	}
	// A key may be a log's and a witness's at once, so both lists are searched.
	newest := func(k *Key) (at int64, signed bool) {
		for _, v := range verified {
			if v.Key.Name == k.Name && v.Key.Type == k.Type && v.Key.same(k) {
				at, signed = max(at, v.Time), true
			}
		}
		return at, signed
	}
	for _, l := range p.Logs {
		if _, signed := newest(l.Key); signed && l.Key.Name == c.Checkpoint.Origin {
			c.Log = l.Key
			break
		}
	}
	if c.Log == nil {
		return nil, fmt.Errorf("checkpoint of %q: signed by no log of the policy under that name: %w", c.Checkpoint.Origin, ErrUnknownLog)
	}
	counts := map[string]bool{NoQuorum: true}
	for _, w := range p.Witnesses {
		if at, signed := newest(w.Key); signed {
			counts[w.Name] = true
			c.Witnesses = append(c.Witnesses, Witnessed{w.Name, at})
		}
	}
	for _, g := range p.Groups {
		s := Standing{Name: g.Name, Need: g.Need}
		for _, m := range g.Members {
			if counts[m] {
				s.Have++
			}
		}
		counts[g.Name] = s.Have >= s.Need
		c.Groups = append(c.Groups, s)
	}
	if c.Quorum = counts[p.Quorum]; !c.Quorum {
		return c, fmt.Errorf("checkpoint of %q: %d witnesses, quorum %q: %w", c.Checkpoint.Origin, len(c.Witnesses), p.Quorum, ErrQuorum)
	}
	return c, nil
}
