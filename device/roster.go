package device

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"ampoule/format"
)

// The kinds of defect of a roster.
const (
	ErrColumn    format.Defect = "unknown-column"
	ErrNoName    format.Defect = "no-device-name"
	ErrDuplicate format.Defect = "duplicate-device"
	ErrRow       format.Defect = "bad-row"
)

// Bounds of a roster.
const (
	MaxRoster = 8 << 20 // bytes
	maxRows   = 50_000
)

// Listed is a device of a roster, a table of devices that are to be enrolled.
type Listed struct {
	Line      int
	Names     []Name
	Maker     string
	Model     string
	PQS       string
	Facility  string
	Equipment string
}

// RosterColumns are the columns that a roster may have, in any order. Those of a
// scheme name the device; serial goes with maker.
var RosterColumns = []string{"maker", "model", "serial", "pqs", "giai", "oid", "dev-eui", "ble", "rfid", "facility", "equipment"}

// ParseRoster reads a roster: CSV in UTF-8 with a line of column names, separated by
// commas, semicolons or tabs. Rows that cannot be are among the findings, by line and
// column, and the others are returned. An error is of the file as a whole.
func ParseRoster(data []byte) ([]Listed, []format.Finding, error) {
	if len(data) > MaxRoster {
		return nil, nil, fmt.Errorf("roster: %d bytes: %w", len(data), ErrSize)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, nil, fmt.Errorf("roster: no UTF-8: %w", ErrRow)
	}
	in := csv.NewReader(bytes.NewReader(data))
	in.Comma, in.FieldsPerRecord, in.ReuseRecord = separator(data), -1, true
	head, err := in.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("roster: no line of column names: %w", ErrRow)
	}
	columns := make([]string, len(head))
	for i, name := range head {
		name = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(name), "_", "-"))
		known := false
		for _, c := range RosterColumns {
			known = known || c == name
		}
		for _, before := range columns[:i] {
			known = known && before != name
		}
		if !known {
			return nil, nil, fmt.Errorf("roster: column %d is %.40q, or twice; there are %s: %w", i+1, name, strings.Join(RosterColumns, ", "), ErrColumn)
		}
		columns[i] = name
	}
	var all []Listed
	var findings []format.Finding
	seen := map[Name]int{}
	for {
		row, err := in.Read()
		if err == io.EOF {
			return all, findings, nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			// Where a quote is open, the rest cannot be told from it.
			findings = append(findings, format.Finding{Path: fmt.Sprintf("line %d", broken.StartLine), Reason: ErrRow})
			return all, findings, nil
		}
		if len(all)+len(findings) == maxRows {
			return nil, nil, fmt.Errorf("roster: more than %d rows: %w", maxRows, ErrSize)
		}
		line, _ := in.FieldPos(0)
		if len(row) != len(columns) {
			findings = append(findings, format.Finding{Path: fmt.Sprintf("line %d", line), Reason: ErrRow})
			continue
		}
		one, column, err := listed(columns, row)
		one.Line = line
		for _, n := range one.Names {
			if err == nil && seen[n] > 0 {
				column, err = string(n.Scheme), fmt.Errorf("as line %d: %w", seen[n], ErrDuplicate)
			}
		}
		if err != nil {
			path := fmt.Sprintf("line %d", line)
			if column != "" {
				path += ", " + column
			}
			findings = append(findings, format.Finding{Path: path, Reason: format.Defect(format.Reason(err, string(ErrRow)))})
			continue
		}
		for _, n := range one.Names {
			seen[n] = line
		}
		all = append(all, one)
	}
}

// separator is what stands most often in the first line.
func separator(data []byte) rune {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	best := ','
	for _, c := range ";\t" {
		if bytes.Count(line, []byte(string(c))) > bytes.Count(line, []byte(string(best))) {
			best = c
		}
	}
	return best
}

func listed(columns, row []string) (one Listed, column string, err error) {
	serial := ""
	for i, value := range row {
		value = strings.TrimSpace(value)
		if len(value) > maxText {
			return one, columns[i], ErrRange
		}
		switch c := columns[i]; c {
		case "maker":
			one.Maker = value
		case "model":
			one.Model = value
		case "pqs":
			one.PQS = value
		case "facility":
			one.Facility = value
		case "equipment":
			one.Equipment = value
		case "serial":
			serial = value
		default:
			if value == "" {
				continue
			}
			n, err := NewName(Scheme(c), value)
			if err != nil {
				return one, c, err
			}
			one.Names = append(one.Names, n)
		}
	}
	if serial != "" {
		n, err := NewName(Serial, one.Maker+"/"+serial)
		if err != nil {
			return one, "serial", err
		}
		one.Names = append(one.Names, n)
	}
	if len(one.Names) == 0 {
		return one, "", ErrNoName
	}
	return one, "", nil
}
