package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"ampoule/format"
	"ampoule/party/custody"
)

type stockCmd struct {
	Check  stockCheckCmd  `cmd:"" help:"Look at a file of stock before it is brought: what is in it, and which rows cannot be taken."`
	Import stockImportCmd `cmd:"" help:"Bring a file of stock: a table, or what DHIS2, OpenLMIS or open mSupply give out."`

	Handover stockHandoverCmd `cmd:"" help:"Hand goods over to another organisation, signed by both."`
}

// stockFile is a file, and what its names mean.
type stockFile struct {
	File string `arg:"" placeholder:"FILE" help:"CSV or JSON; - is standard input."`
	Map  string `placeholder:"M" help:"What the names in it mean here, in JSON."`
	JSON bool   `name:"json" help:"As one JSON object."`
}

func (f *stockFile) read(t terminal) (data, names []byte, m *custody.StockMap, err error) {
	if data, err = readBounded(f.File, t.in, custody.MaxImport); err != nil {
		return nil, nil, nil, usageError("%w", err)
	}
	if f.Map != "" {
		if names, err = readInput(f.Map, nil); err != nil {
			return nil, nil, nil, usageError("--map: %w", err)
		}
	}
	if m, err = custody.ParseStockMap(names); err != nil {
		return nil, nil, nil, usageError("--map: %w", err)
	}
	return data, names, m, nil
}

// tell exits 1 where a row is not taken.
func (f *stockFile) tell(t terminal, out *custody.Imported) error {
	if f.JSON {
		writeJSON(t.out, out)
	} else {
		for _, x := range out.Faults {
			fmt.Fprintf(t.out, "line %d: %s %s\n", x.Line, format.Visible(x.Field), format.Visible(string(x.Reason)))
		}
		fmt.Fprintf(t.out, "rows   %d\nfaults %d\nadded  %d\n", out.Rows, len(out.Faults), out.Added)
	}
	if len(out.Faults) > 0 {
		return exitError{exitNotValid, nil}
	}
	return nil
}

type stockCheckCmd struct{ stockFile }

func (c *stockCheckCmd) Run(t terminal) error {
	data, _, m, err := c.read(t)
	if err != nil {
		return err
	}
	rows, faults, err := custody.ReadStock(data, m)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	return c.tell(t, &custody.Imported{Rows: len(rows), Faults: append([]custody.StockFault{}, faults...)})
}

type stockImportCmd struct {
	stockFile
	apiFlags
	Facility string `placeholder:"F" help:"Facility, of whom has several."`
	Proceed  bool   `help:"Bring the rows that can be taken, although others cannot."`
}

func (c *stockImportCmd) Run(t terminal) error {
	data, names, _, err := c.read(t)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"file": string(data), "map": json.RawMessage(orEmpty(names)), "proceed": c.Proceed})
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.Facility != "" {
		query.Set("facility", c.Facility)
	}
	var out custody.Imported
	if err := c.ask("/v1/stock/imports", query, "application/json", body, &out); err != nil {
		return err
	}
	return c.tell(t, &out)
}

// orEmpty is a document, or the empty one.
func orEmpty(data []byte) []byte {
	if len(data) == 0 {
		return []byte("{}")
	}
	return data
}
