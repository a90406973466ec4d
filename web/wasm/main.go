//go:build js && wasm

// The engine of the verifier's page: globalThis.ampoule, for a Web Worker.
//
//	pin(file: Uint8Array): string                        "" or JSON with an error
//	accept(file: Uint8Array): string                     JSON of engine.Info or with an error
//	codes(file: Uint8Array): string                      JSON array of texts or with an error
//	verify(texts: Uint8Array[], options: string): string lines of JSON, by the JSON of engine.Options
//
// Nothing here throws. Every answer is a text, and an error has the members of
// engine.Failure.
package main

import (
	"encoding/json"
	"fmt"
	"syscall/js"
	"time"

	"ampoule/bundle"
	"ampoule/web/engine"
)

func main() {
	e := &engine.Engine{Now: time.Now}
	export := func(name string, f func(args []js.Value) ([]byte, error)) {
		js.Global().Get("ampoule").Set(name, js.FuncOf(func(_ js.Value, args []js.Value) (answer any) {
			// A defect of one code must not take the verifier from the next in the queue.
			defer func() {
				if recover() != nil {
					answer = string(engine.Failure(fmt.Errorf("%s: internal error", name)))
				}
			}()
			out, err := f(args)
			if err != nil {
				out = engine.Failure(err)
			}
			return string(out)
		}))
	}
	js.Global().Set("ampoule", js.Global().Get("Object").New())
	export("pin", func(args []js.Value) ([]byte, error) { return nil, e.Pin(bytes(args[0])) })
	export("accept", func(args []js.Value) ([]byte, error) {
		if size := args[0].Get("length").Int(); size > bundle.MaxSize {
			return nil, fmt.Errorf("%d bytes: %w", size, bundle.ErrTooLarge)
		}
		info, err := e.Accept(bytes(args[0]))
		if err != nil {
			return nil, err
		}
		return json.Marshal(info)
	})
	js.Global().Get("ampoule").Set("apply", js.FuncOf(func(_ js.Value, args []js.Value) any {
		file, err := bundle.Apply(bytes(args[0]), bytes(args[1]))
		if err != nil {
			return js.Null()
		}
		array := js.Global().Get("Uint8Array").New(len(file))
		js.CopyBytesToJS(array, file)
		return array
	}))
	export("codes", func(args []js.Value) ([]byte, error) { return engine.Codes(bytes(args[0])) })
	export("verify", func(args []js.Value) ([]byte, error) {
		// Bytes, because the text of a DIVOC code is an archive and no UTF-8.
		texts := make([]string, args[0].Get("length").Int())
		for i := range texts {
			texts[i] = string(bytes(args[0].Index(i)))
		}
		var options engine.Options
		if err := json.Unmarshal([]byte(args[1].String()), &options); err != nil {
			return nil, err
		}
		return e.Verify(texts, options), nil
	})
	select {}
}

func bytes(array js.Value) []byte {
	data := make([]byte, array.Get("length").Int())
	js.CopyBytesToGo(data, array)
	return data
}
