// Package web holds the pages that run in a browser, as `make build` builds them
// with Node from the folders beside this file. A binary that was built without
// them says so where they would be.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Pages returns the built pages, each file in two compressed forms, .br and .gz,
// under its address; false if they were not built.
func Pages() (fs.FS, bool) {
	pages, err := fs.Sub(dist, "dist/pages")
	if err != nil {
		return nil, false
	}
	_, err = fs.Stat(pages, "verifier/index.html.br")
	return pages, err == nil
}
