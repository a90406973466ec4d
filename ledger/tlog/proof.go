package tlog

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"ampoule/format"
)

// The kinds of defect of proofs that are files.
const (
	ErrLogProof     = format.Defect("malformed-log-proof")
	ErrLogProofSize = format.Defect("log-proof-too-large")
)

const (
	// MaxExtra is the longest extra data of a proof, in bytes.
	MaxExtra = 16 << 10

	maxLogProof = MaxNote + 2*MaxExtra + 64*(maxPath+2)
)

// LogProof is a proof that an entry is in a log, with the checkpoint that it leads
// to (C2SP tlog-proof, file name ending .tlog-proof):
//
//	c2sp.org/tlog-proof@v1
//	[extra <base64>]
//	index <decimal>
//	<base64 of a hash>...
//
//	<checkpoint, verbatim>
type LogProof struct {
	Extra      []byte // vouched for by nothing; none: no line
	Index      uint64
	Path       []Hash
	Checkpoint []byte // a signed note
}

const logProofHeader = "c2sp.org/tlog-proof@v1\n"

// Encode writes the file.
func (p *LogProof) Encode() ([]byte, error) {
	if len(p.Extra) > MaxExtra || len(p.Path) > maxPath || p.Index >= MaxSize {
		return nil, fmt.Errorf("log proof: %d bytes extra, %d hashes, index %d: %w", len(p.Extra), len(p.Path), p.Index, ErrLogProofSize)
	}
	if len(p.Checkpoint) == 0 || len(p.Checkpoint) > MaxNote {
		return nil, fmt.Errorf("log proof: checkpoint of %d bytes: %w", len(p.Checkpoint), ErrLogProofSize)
	}
	var b bytes.Buffer
	b.WriteString(logProofHeader)
	if len(p.Extra) > 0 {
		fmt.Fprintf(&b, "extra %s\n", base64.StdEncoding.EncodeToString(p.Extra))
	}
	fmt.Fprintf(&b, "index %d\n", p.Index)
	for i := range p.Path {
		fmt.Fprintf(&b, "%s\n", base64.StdEncoding.EncodeToString(p.Path[i][:]))
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes(), nil
}

// ParseLogProof reads a file. What it takes encodes to the same bytes again, since
// each line has one form. The checkpoint is left as it is: [Policy.Open] reads it.
func ParseLogProof(data []byte) (*LogProof, error) {
	if len(data) > maxLogProof {
		return nil, fmt.Errorf("log proof of %d bytes: %w", len(data), ErrLogProofSize)
	}
	bad := func(what string) (*LogProof, error) {
		return nil, fmt.Errorf("log proof: %s: %w", what, ErrLogProof)
	}
	rest, ok := strings.CutPrefix(string(data), logProofHeader)
	if !ok {
		return bad("header")
	}
	p := new(LogProof)
	line, rest, _ := strings.Cut(rest, "\n")
	var err error
	if b64, ok := strings.CutPrefix(line, "extra "); ok {
		if p.Extra, err = decodeBase64(b64); err != nil || len(p.Extra) == 0 {
			return bad("extra")
		}
		line, rest, _ = strings.Cut(rest, "\n")
	}
	index, ok := strings.CutPrefix(line, "index ")
	if p.Index, err = parseDecimal(index); !ok || err != nil {
		return bad("index")
	}
	for {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return bad("no checkpoint")
		}
		rest = after
		if line == "" {
			break
		}
		h, err := parseHash(line)
		if err != nil || len(p.Path) == maxPath {
			return bad("hash")
		}
		p.Path = append(p.Path, h)
	}
	if rest == "" || len(rest) > MaxNote || p.Index >= MaxSize || len(p.Extra) > MaxExtra {
		return nil, fmt.Errorf("log proof: checkpoint of %d bytes, %d bytes extra, index %d: %w", len(rest), len(p.Extra), p.Index, ErrLogProofSize)
	}
	p.Checkpoint = []byte(rest)
	return p, nil
}

// Verify tells whether the leaf is in a log of the policy, under a checkpoint that
// satisfies it. With ErrQuorum comes what the policy says of the checkpoint; the
// leaf is then under it.
func (p *LogProof) Verify(leaf Hash, policy *Policy) (*Cosigned, error) {
	c, quorum := policy.Open(p.Checkpoint)
	if c == nil {
		return nil, quorum
	}
	if err := VerifyInclusion(leaf, p.Index, c.Checkpoint.Size, p.Path, c.Checkpoint.Root); err != nil {
		return nil, err
	}
	return c, quorum
}
