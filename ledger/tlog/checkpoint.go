package tlog

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"ampoule/format"
)

// ErrCheckpoint is a text that is no checkpoint, or no checkpoint in its one form.
const ErrCheckpoint = format.Defect("malformed-checkpoint")

// Checkpoint is what a log says of itself, the text of a signed note:
//
//	<origin>                      which log
//	<size>                        number of leaves, decimal
//	<base64 of the root>
//	[<extension>...]              opaque lines, not recommended
//
// An ML-DSA-44 cosignature covers the first three lines and no extension.
type Checkpoint struct {
	Origin     string
	Size       uint64
	Root       Hash
	Extensions []string
}

// Text writes the text of the note.
func (c *Checkpoint) Text() (string, error) {
	for _, line := range append([]string{c.Origin}, c.Extensions...) {
		if line == "" || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			return "", fmt.Errorf("checkpoint: a line that is empty or has control characters: %w", ErrCheckpoint)
		}
	}
	if c.Size > MaxSize || len(c.Origin) > maxName {
		return "", fmt.Errorf("checkpoint: size %d, origin of %d bytes: %w", c.Size, len(c.Origin), ErrCheckpoint)
	}
	if c.Size == 0 && c.Root != EmptyRoot() {
		return "", fmt.Errorf("checkpoint: no leaves, and the root is not that of none: %w", ErrCheckpoint)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
	for _, line := range c.Extensions {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// Note makes the note that the log and its cosigners sign.
func (c *Checkpoint) Note() (*Note, error) {
	text, err := c.Text()
	if err != nil {
		return nil, err
	}
	return &Note{Text: text}, nil
}

// ParseCheckpoint reads the text of a note.
func ParseCheckpoint(text string) (*Checkpoint, error) {
	bad := func(what string) (*Checkpoint, error) {
		return nil, fmt.Errorf("checkpoint: %s: %w", what, ErrCheckpoint)
	}
	if len(text) > MaxNote {
		return bad("too long")
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		return bad("lines")
	}
	c := &Checkpoint{Origin: lines[0]}
	if extensions := lines[3 : len(lines)-1]; len(extensions) > 0 {
		c.Extensions = extensions
	}
	var err error
	if c.Size, err = parseDecimal(lines[1]); err != nil {
		return bad("size")
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return bad("root")
	}
	c.Root = root
	// The other rules are those of writing, and what is not as it would be written
	// is refused.
	again, err := c.Text()
	if err != nil {
		return nil, err
	}
	if again != text {
		return bad("form")
	}
	return c, nil
}

// parseDecimal takes no sign and no leading zero.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err == nil && strconv.FormatUint(n, 10) != s {
		return 0, strconv.ErrSyntax
	}
	return n, err
}

func parseHash(s string) (Hash, error) {
	data, err := decodeBase64(s)
	if err != nil || len(data) != HashSize {
		return Hash{}, base64.CorruptInputError(0)
	}
	return Hash(data), nil
}

// subtreeMessage is the cosigned_message of tlog-cosignature, of a whole tree:
//
//	struct {
//	    uint8 label[12] = "subtree/v1\n\0";
//	    opaque cosigner_name<1..2^8-1>;
//	    uint64 timestamp;
//	    opaque log_origin<1..2^8-1>;
//	    uint64 start;                   // 0
//	    uint64 end;                     // the size
//	    uint8 hash[32];
//	} cosigned_message;
func (c *Checkpoint) subtreeMessage(cosigner string, at int64) []byte {
	m := append([]byte("subtree/v1\n\x00"), byte(len(cosigner)))
	m = append(m, cosigner...)
	m = binary.BigEndian.AppendUint64(m, uint64(at))
	m = append(append(m, byte(len(c.Origin))), c.Origin...)
	m = binary.BigEndian.AppendUint64(m, 0)
	m = binary.BigEndian.AppendUint64(m, c.Size)
	return append(m, c.Root[:]...)
}
