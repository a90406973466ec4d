package issuer

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"ampoule/format"
)

// The bounds of an upload.
const (
	MaxUpload   = 64 << 20 // bytes
	MaxRows     = 200_000
	maxCell     = 4 << 10 // bytes
	maxCells    = 128     // of a row
	maxDocument = 16 << 20
	maxHeader   = 64 << 10
)

// The defects of an upload as a whole, besides those of the formats. An upload
// that has one is refused; what is wrong in one row is a [Fault] of that row.
const (
	ErrUploadSize      = format.Defect("upload-too-large")
	ErrRows            = format.Defect("too-many-rows")
	ErrNoRows          = format.Defect("no-rows")
	ErrText            = format.Defect("not-utf8")
	ErrQuote           = format.Defect("unterminated-quote")
	ErrCell            = format.Defect("cell-too-long")
	ErrUnknownColumn   = format.Defect("unknown-column")
	ErrColumnTwice     = format.Defect("column-twice")
	ErrColumnMissing   = format.Defect("column-missing")
	ErrAmbiguousColumn = format.Defect("ambiguous-column") // its cells can be read in two ways
	ErrMedia           = format.Defect("unsupported-media")
)

// UploadError says what is wrong with an upload as a whole, and where. Its text
// repeats nothing of the file: a file without a header would have a person in it.
type UploadError struct {
	Reason format.Defect
	Line   int    // 0: no line of its own
	Cell   int    // from 1; 0: none
	Column string // of ours
	// Header is the column's name as the file has it. It is for the uploader alone.
	Header string
	Hint   string
}

func (e *UploadError) Error() string {
	var b strings.Builder
	for _, part := range []struct {
		format string
		value  any
		say    bool
	}{
		{"line %d: ", e.Line, e.Line > 0},
		{"cell %d: ", e.Cell, e.Cell > 0},
		{"column %s: ", e.Column, e.Column != ""},
		{"%s: ", e.Hint, e.Hint != ""},
	} {
		if part.say {
			fmt.Fprintf(&b, part.format, part.value)
		}
	}
	return b.String() + string(e.Reason)
}

// Unwrap returns the reason.
func (e *UploadError) Unwrap() error { return e.Reason }

// bounded ends a reader with [ErrUploadSize] where it would go on too long.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &UploadError{Reason: ErrUploadSize, Hint: fmt.Sprintf("at most %d MiB", MaxUpload>>20)}
	}
	return n, err
}

// csvReader reads the rows of a CSV file (RFC 4180) as spreadsheets write it:
// UTF-8, with or without byte order mark, or UTF-16 with one; cells parted by
// comma, semicolon or tabulator; lines ended by CR, LF or both. encoding/csv would
// take a quotation mark that never ends for a cell of 64 MiB.
type csvReader struct {
	r     *bufio.Reader
	comma byte
	line  int // of the next byte
}

// newCSV finds the encoding and the separator, and returns the header.
func newCSV(in io.Reader) (c *csvReader, header []string, err error) {
	r := bufio.NewReaderSize(in, 64<<10)
	mark, err := r.Peek(3)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case strings.HasPrefix(string(mark), "\xff\xfe"), strings.HasPrefix(string(mark), "\xfe\xff"):
		decoder := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()
		r = bufio.NewReaderSize(transform.NewReader(r, decoder), 64<<10)
	case string(mark) == "\ufeff":
		_, _ = r.Discard(3)
	}
	c = &csvReader{r: r, line: 1}
	// "sep=;" is how a spreadsheet is told the separator; it is no row.
	if first, err := r.Peek(5); err == nil && strings.EqualFold(string(first[:4]), "sep=") && strings.IndexByte(separators, first[4]) >= 0 {
		if _, err := r.ReadString('\n'); err != nil {
			return nil, nil, &UploadError{Reason: ErrNoRows}
		}
		c.comma, c.line = first[4], 2
	}
	if c.comma == 0 {
		// What is peeked is what the buffer holds: a header is shorter.
		start, err := r.Peek(maxHeader)
		if err != nil && err != io.EOF {
			return nil, nil, err
		}
		c.comma = separator(start)
	}
	if header, _, err = c.next(); err == io.EOF {
		err = &UploadError{Reason: ErrNoRows, Hint: "the file is empty"}
	}
	return c, header, err
}

const separators = ",;\t"

// separator returns what parts the cells of the first line.
func separator(text []byte) byte {
	var counts [len(separators)]int
	quoted := false
	for _, b := range text {
		if b == '"' {
			quoted = !quoted
		}
		if !quoted && (b == '\n' || b == '\r') {
			break
		}
		if i := strings.IndexByte(separators, b); i >= 0 && !quoted {
			counts[i]++
		}
	}
	best := 0
	for i, n := range counts {
		if n > counts[best] {
			best = i
		}
	}
	return separators[best]
}

// next returns a row that is not empty, and the line it begins in; io.EOF after
// the last.
func (c *csvReader) next() (cells []string, line int, err error) {
	for {
		line = c.line
		if cells, err = c.row(); err != nil {
			return nil, line, err
		}
		for _, cell := range cells {
			if cell != "" {
				return cells, line, nil
			}
		}
	}
}

func (c *csvReader) row() (cells []string, err error) {
	var cell []byte
	var quoted, closed bool // inside quotation marks; after them
	var from int            // the line of the quotation mark
	fail := func(reason format.Defect, line int, hint string) ([]string, error) {
		return nil, &UploadError{Reason: reason, Line: line, Cell: len(cells) + 1, Hint: hint}
	}
	end := func() error {
		if !utf8.Valid(cell) {
			_, err := fail(ErrText, c.line, `save it as "CSV UTF-8"`)
			return err
		}
		cells = append(cells, unguard(strings.TrimSpace(string(cell))))
		cell, closed = cell[:0], false
		return nil
	}
	for {
		b, err := c.r.ReadByte()
		switch {
		case err == io.EOF && quoted:
			return fail(ErrQuote, from, "a quotation mark opens here and none closes")
		case err == io.EOF && len(cells) == 0 && len(cell) == 0 && !closed:
			return nil, io.EOF
		case err == io.EOF:
			return cells, end()
		case err != nil:
			return nil, err
		case quoted && b != '"':
			cell = append(cell, b)
			if b == '\n' {
				c.line++
			}
		case quoted:
			if next, _ := c.r.Peek(1); len(next) > 0 && next[0] == '"' {
				_, _ = c.r.Discard(1)
				cell = append(cell, '"')
			} else {
				quoted, closed = false, true
			}
		case b == '"' && !closed && len(cell) == 0:
			quoted, from = true, c.line
		case b == c.comma:
			if err := end(); err != nil {
				return nil, err
			}
		case b == '\n' || b == '\r':
			if next, _ := c.r.Peek(1); b == '\r' && len(next) > 0 && next[0] == '\n' {
				_, _ = c.r.Discard(1)
			}
			err := end()
			c.line++
			return cells, err
		case closed && b != ' ':
			return fail(ErrQuote, c.line, "there is text after a closing quotation mark")
		case !closed:
			cell = append(cell, b)
		}
		if len(cell) > maxCell {
			line := c.line
			hint := fmt.Sprintf("more than %d bytes", maxCell)
			if quoted {
				line, hint = from, hint+"; a closing quotation mark may be missing"
			}
			return fail(ErrCell, line, hint)
		}
		if len(cells) > maxCells {
			return fail(format.TooLong, c.line, fmt.Sprintf("more than %d cells", maxCells))
		}
	}
}

// formula are the characters with which a spreadsheet takes a cell for a formula
// to compute, and a formula can send what stands in other cells elsewhere.
const formula = "=+-@\t\r"

// guard puts an apostrophe before a cell that begins like a formula, so that a
// spreadsheet shows it; unguard takes it off, so that a file that we gave back is
// read as the one we were given. A cell that came with the apostrophe loses it.
func guard(cell string) string {
	if cell != "" && strings.IndexByte(formula, cell[0]) >= 0 {
		return "'" + cell
	}
	return cell
}

func unguard(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte(formula, cell[1]) >= 0 {
		return cell[1:]
	}
	return cell
}

// appendCSV appends a row as spreadsheets read it, every cell guarded.
func appendCSV(dst []byte, comma byte, cells ...string) []byte {
	for i, cell := range cells {
		if i > 0 {
			dst = append(dst, comma)
		}
		cell = guard(cell)
		if strings.ContainsAny(cell, "\"\r\n"+separators) || strings.TrimSpace(cell) != cell {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		dst = append(dst, cell...)
	}
	return append(dst, '\r', '\n')
}
