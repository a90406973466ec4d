package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"ampoule/format"
	"ampoule/party/custody"
)

type stockCmd struct {
	Import stockImportCmd `cmd:"" help:"Bring a file of stock: a table, or what DHIS2, OpenLMIS or open mSupply give out."`
}

type stockImportCmd struct {
	apiFlags
	File     string `arg:"" placeholder:"FILE" help:"CSV or JSON; - is standard input."`
	Map      string `placeholder:"M" help:"What the names in it mean here, in JSON."`
	Facility string `placeholder:"F" help:"Facility, of whom has several."`
	Proceed  bool   `help:"Bring the rows that can be taken, although others cannot."`
	Dry      bool   `help:"Tell what is in it, ask no server, and bring nothing."`
	JSON     bool   `name:"json" help:"As one JSON object."`
}

// Run exits 1 where a row is not taken.
func (c *stockImportCmd) Run(t terminal) error {
	data, err := readBounded(c.File, t.in, custody.MaxImport)
	if err != nil {
		return usageError("%w", err)
	}
	var names []byte
	if c.Map != "" {
		if names, err = readInput(c.Map, nil); err != nil {
			return usageError("--map: %w", err)
		}
	}
	m, err := custody.ParseStockMap(names)
	if err != nil {
		return usageError("--map: %w", err)
	}
	var out custody.Imported
	if c.Dry {
		rows, faults, err := custody.ReadStock(data, m)
		if err != nil {
			return exitError{exitNotValid, err}
		}
		out = custody.Imported{Rows: len(rows), Faults: append([]custody.StockFault{}, faults...)}
	} else {
		body, err := json.Marshal(map[string]any{"file": string(data), "map": json.RawMessage(orEmpty(names)), "proceed": c.Proceed})
		if err != nil {
			return err
		}
		query := url.Values{}
		if c.Facility != "" {
			query.Set("facility", c.Facility)
		}
		if err := c.ask("/v1/stock/imports", query, "application/json", body, &out); err != nil {
			return err
		}
	}
	if c.JSON {
		writeJSON(t.out, out)
	} else {
		for _, f := range out.Faults {
			fmt.Fprintf(t.out, "line %d: %s %s\n", f.Line, format.Visible(f.Field), format.Visible(string(f.Reason)))
		}
		fmt.Fprintf(t.out, "rows   %d\nfaults %d\n", out.Rows, len(out.Faults))
		if !c.Dry {
			fmt.Fprintf(t.out, "added  %d\n", out.Added)
		}
	}
	if len(out.Faults) > 0 {
		return exitError{exitNotValid, nil}
	}
	return nil
}

// orEmpty is a document, or the empty one.
func orEmpty(data []byte) []byte {
	if len(data) == 0 {
		return []byte("{}")
	}
	return data
}
