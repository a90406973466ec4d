package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format"
	"ampoule/internal/logside"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// ledgerFiles are the routes of C2SP tlog-tiles and tlog-witness. Whoever verifies
// needs nothing else, and any copy of the files does as well.
func (s *server) ledgerFiles(route func(pattern string, h func(*answer, *http.Request))) {
	n := s.Ledger
	route("GET /ledger/checkpoint", func(w *answer, r *http.Request) {
		note, _ := n.Checkpoint()
		if note == nil {
			s.fail(w, r, problemNotCosigned)
			return
		}
		h := w.Header()
		openToAll(h)
		h.Set("Cache-Control", "no-cache") // it is another one with each growth
		h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(note)))
		h.Set("Content-Type", "text/plain; charset=utf-8")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(note))
	})
	route("GET /ledger/tile/{path...}", func(w *answer, r *http.Request) {
		t, err := tlog.ParseTilePath("tile/" + r.PathValue("path"))
		if err != nil {
			s.fail(w, r, problemNotFound)
			return
		}
		data, err := (tlog.Files{FS: n.Replica.Files()}).Tile(t)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.fail(w, r, problemNotFound)
			return
		case err != nil:
			s.log.Error("a tile could not be read", "error", err)
			s.fail(w, r, problemInternal)
			return
		}
		h := w.Header()
		openToAll(h)
		// What has a name never changes; a partial one is of use until the next.
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		if t.Width < tlog.TileWidth {
			h.Set("Cache-Control", "public, max-age=3600")
		}
		h.Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	if n.Cosigner == nil {
		return
	}
	add := logside.Handler(n.Cosigner, func(err error) { s.log.Error("a checkpoint could not be cosigned", "error", err) })
	route("POST /ledger/add-checkpoint", func(w *answer, r *http.Request) { add(w, r) })
}

// openToAll lets pages of other sites read.
func openToAll(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

type treeBody struct {
	Size uint64 `json:"size" doc:"Number of entries"`
	Root string `json:"root" doc:"Of the tree, SHA-256 in hexadecimal"`
}

type cosignatureBody struct {
	Name string    `json:"name" doc:"In the policy"`
	Time time.Time `json:"time,omitzero" doc:"When it says that it signed"`
}

type ledgerStatusBody struct {
	Origin     string            `json:"origin" doc:"Name of the log"`
	Chain      string            `json:"chain" doc:"SHA-256 of the genesis, in hexadecimal"`
	Height     uint64            `json:"height" doc:"Of the last block"`
	Time       time.Time         `json:"time" doc:"Of the last block"`
	Log        treeBody          `json:"log" doc:"As this node has it"`
	Published  *treeBody         `json:"published,omitempty" doc:"Under the newest checkpoint that satisfies the policy"`
	Cosigned   []cosignatureBody `json:"cosigned,omitempty" doc:"By whom that checkpoint is cosigned"`
	CatchingUp bool              `json:"catching_up" doc:"It fetches blocks that others have"`
	Validating bool              `json:"validating" doc:"It has a vote in the present set"`
	Peers      int               `json:"peers" doc:"Nodes that it is connected with"`
	MayVote    bool              `json:"may_vote" doc:"Who asks may vote for the member whose node this is"`
}

type memberBody struct {
	OID      string         `json:"oid"`
	Code     string         `json:"code" doc:"In the trust network"`
	Standing state.Standing `json:"standing" enum:"active,suspended,revoked"`
	Voting   bool           `json:"voting"`
	Keys     []string       `json:"keys" doc:"Thumbprints, in hexadecimal"`
}

type validatorBody struct {
	Member string `json:"member"`
	Type   string `json:"type" enum:"Ed25519,ML-DSA-65"`
	Key    []byte `json:"key" doc:"In base64"`
	Power  uint64 `json:"power"`
}

type proposalBody struct {
	ID       string    `json:"id" doc:"SHA-256 of what proposed it, in hexadecimal"`
	About    string    `json:"about" enum:"member,validators,params,upgrade,foreign,emergency,trust"`
	Proposer string    `json:"proposer"`
	Deadline time.Time `json:"deadline"`
	Yes      []string  `json:"yes"`
	No       []string  `json:"no"`
	Outcome  string    `json:"outcome" enum:"open,passed,rejected,expired,failed"`
	Holds    bool      `json:"holds,omitempty" doc:"Of an emergency: enough have called it, and it holds until it is decided"`
}

var proposalNames = [...]string{
	state.AboutMember: "member", state.AboutValidators: "validators", state.AboutParams: "params", state.AboutUpgrade: "upgrade",
	state.AboutForeign: "foreign", state.AboutEmergency: "emergency", state.AboutTrust: "trust",
}

type actorBody struct {
	Chain   string   `json:"chain" doc:"SHA-256 of the genesis, in hexadecimal"`
	Height  uint64   `json:"height" doc:"Of the last block"`
	MaxLife uint64   `json:"max_life" doc:"Heights that a transaction may be valid ahead"`
	Seq     uint64   `json:"seq" doc:"Of its last transaction; the next has one more"`
	Hybrid  bool     `json:"hybrid" doc:"Two signatures are needed"`
	Keys    []string `json:"keys" doc:"Thumbprints, in hexadecimal"`
	Batch   string   `json:"batch,omitempty" doc:"Root of its last batch, in hexadecimal"`
	Epoch   uint64   `json:"epoch" doc:"Of its last batch"`
}

type submittedBody struct {
	Leaf string `json:"leaf" doc:"Hash of its leaf, in hexadecimal, by which to ask for it"`
}

type standingBody struct {
	Logged   bool      `json:"logged"`
	Index    uint64    `json:"index,omitempty" doc:"Of its entry"`
	ID       string    `json:"id,omitempty" doc:"Identifier of its entry"`
	Height   uint64    `json:"height" doc:"Of the node"`
	Cosigned bool      `json:"cosigned" doc:"It stands under a checkpoint that satisfies the policy"`
	Time     time.Time `json:"time,omitzero" doc:"Of that checkpoint"`
}

type logEntryBody struct {
	EntryLine
	Entry  []byte       `json:"entry" doc:"In base64"`
	Proof  string       `json:"proof" doc:"C2SP tlog-proof"`
	Fields []EntryField `json:"fields" doc:"What it says, for people to read"`
}

type rootSignatureBody struct {
	Alg       int64  `json:"alg" doc:"COSE algorithm"`
	KID       string `json:"kid" doc:"In hexadecimal"`
	Signature []byte `json:"signature" doc:"Of RFC 9942 over the root, in base64"`
}

type provenRowBody struct {
	Key   string `json:"key" doc:"In hexadecimal"`
	Value []byte `json:"value,omitempty" doc:"In base64; absent: there is no such row"`
	Proof []byte `json:"proof,omitempty" doc:"That it is there, or that it is not, in base64"`
}

type resolvedBody struct {
	OID   string          `json:"oid"`
	Kind  string          `json:"kind" enum:"log,entry,cosigner,registry,absent"`
	Value []byte          `json:"value,omitempty" doc:"In base64"`
	Proof string          `json:"proof,omitempty" doc:"C2SP tlog-proof of the entry, or of the leaf of the epoch; of a log its checkpoint"`
	State []byte          `json:"state,omitempty" doc:"Leaf of the epoch under which the rows are proven, in base64"`
	Rows  []provenRowBody `json:"rows,omitempty"`
	Since string          `json:"since,omitempty" doc:"Why a row has no proof yet"`
}

// ledgerProblem is an error of the notary as an answer.
func (s *server) ledgerProblem(err error) error {
	switch {
	case errors.Is(err, notary.ErrNotLogged):
		return problemNotLogged
	case errors.Is(err, notary.ErrNotCosigned):
		return problemNotCosigned
	case errors.Is(err, notary.ErrNoActor):
		return problemNoActor
	case errors.Is(err, notary.ErrNoEntry):
		return problemNoEntry
	}
	s.log.Error("the ledger could not be asked", "error", err)
	return problemInternal
}

// refusal is why a transaction was not taken.
func (s *server) refusal(err error) error {
	word := format.Reason(err, "")
	if word == "" {
		s.log.Error("a transaction could not be handed in", "error", err)
		return problemLedgerAway
	}
	p := *problemTransaction
	p.reason = word
	switch {
	case errors.Is(err, state.ErrSeqUsed), errors.Is(err, state.ErrSeqGap):
		p.Status = http.StatusConflict
	case errors.Is(err, state.ErrQuota), errors.Is(err, state.ErrBlockFull):
		p.Status = http.StatusTooManyRequests
	}
	return &p
}

func hexOf(h tlog.Hash) string { return hex.EncodeToString(h[:]) }

func hexesOf(all []tlog.Hash) []string {
	out := make([]string, len(all))
	for i, h := range all {
		out[i] = hexOf(h)
	}
	return out
}

func parseHashText(text string) (tlog.Hash, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != tlog.HashSize {
		return tlog.Hash{}, problemInvalid.with("a hash is 64 hexadecimal digits")
	}
	return tlog.Hash(data), nil
}

func parseOIDText(text string) (state.OID, error) {
	oid, err := state.ParseOID(text)
	if err != nil {
		return "", problemInvalid.with("an identifier is numbers with dots between them")
	}
	return oid, nil
}

// describeLedger registers what members, issuers and the curious ask of a node. All
// of it is public: who may write is decided by signatures, and nothing on the ledger
// is about a person.
func (s *server) describeLedger(api huma.API) {
	n := s.Ledger
	type body[T any] struct {
		CacheControl string `header:"Cache-Control"`
		Body         T
	}
	at := func(id, path, summary string, errs ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/v1/ledger" + path, Summary: summary, Errors: errs, Tags: []string{"ledger"}}
	}
	register(api, at("ledgerStatus", "/status", "Tell where this node of the ledger stands"), func(ctx context.Context, _ *struct{}) (*body[ledgerStatusBody], error) {
		head := n.Replica.Head()
		out := &body[ledgerStatusBody]{"no-cache", ledgerStatusBody{
			Origin: n.Origin(), Height: head.Height, Time: head.Time.UTC(), Log: treeBody{head.Size, hexOf(head.Root)},
			CatchingUp: head.CatchingUp, Validating: head.Validating, Peers: len(n.Replica.Peers()), MayVote: s.mayVote(principal(ctx)),
		}}
		n.Replica.Read(func(st *state.State) { out.Body.Chain = hexOf(st.Chain()) })
		if _, c := n.Checkpoint(); c != nil {
			out.Body.Published = &treeBody{c.Checkpoint.Size, hexOf(c.Checkpoint.Root)}
			for _, w := range c.Witnesses {
				b := cosignatureBody{Name: w.Name}
				if w.Time > 0 {
					b.Time = time.Unix(w.Time, 0).UTC()
				}
				out.Body.Cosigned = append(out.Body.Cosigned, b)
			}
		}
		return out, nil
	})
	register(api, at("ledgerMembers", "/members", "List the members"), func(context.Context, *struct{}) (*body[[]memberBody], error) {
		out := &body[[]memberBody]{"no-cache", []memberBody{}}
		n.Replica.Read(func(st *state.State) {
			for _, m := range st.Members() {
				out.Body = append(out.Body, memberBody{m.OID.String(), m.Code, m.Standing, m.Voting, hexesOf(m.Keys)})
			}
		})
		return out, nil
	})
	register(api, at("ledgerValidators", "/validators", "List the validators"), func(context.Context, *struct{}) (*body[[]validatorBody], error) {
		out := &body[[]validatorBody]{"no-cache", []validatorBody{}}
		n.Replica.Read(func(st *state.State) {
			for _, v := range st.Validators() {
				b := validatorBody{v.Member.String(), "Ed25519", []byte(v.Key), v.Power}
				if v.Type == state.ConsensusMLDSA65 {
					b.Type = "ML-DSA-65"
				}
				out.Body = append(out.Body, b)
			}
		})
		return out, nil
	})
	register(api, at("ledgerProposals", "/proposals", "List the proposals that wait for votes"), func(context.Context, *struct{}) (*body[[]proposalBody], error) {
		out := &body[[]proposalBody]{"no-cache", []proposalBody{}}
		n.Replica.Read(func(st *state.State) {
			for _, b := range st.Open() {
				out.Body = append(out.Body, proposalOf(b))
			}
		})
		return out, nil
	})
	register(api, at("ledgerProposal", "/proposals/{id}", "Show a proposal, open or decided", 404, 422), func(_ context.Context, r *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*body[proposalBody], error) {
		id, err := parseHashText(r.ID)
		if err != nil {
			return nil, err
		}
		var out *body[proposalBody]
		n.Replica.Read(func(st *state.State) {
			if b, ok := st.Ballots(id); ok {
				out = &body[proposalBody]{"no-cache", proposalOf(b)}
			}
		})
		if out == nil {
			return nil, problemNotLogged
		}
		return out, nil
	})
	register(api, at("ledgerActor", "/actors/{oid}", "Tell what an actor must know to write its next transaction", 404, 422), func(ctx context.Context, r *struct {
		OID string `path:"oid" maxLength:"256"`
	}) (*body[actorBody], error) {
		oid, err := parseOIDText(r.OID)
		if err != nil {
			return nil, err
		}
		a, err := n.Actor(ctx, oid)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		out := &body[actorBody]{"no-cache", actorBody{Chain: hexOf(a.Chain), Height: a.Height, MaxLife: a.MaxLife, Seq: a.Seq, Hybrid: a.Hybrid, Keys: hexesOf(a.Keys), Epoch: a.Epoch}}
		if a.Batch != (tlog.Hash{}) {
			out.Body.Batch = hexOf(a.Batch)
		}
		return out, nil
	})

	submit := at("ledgerSubmit", "/transactions", "Hand in a transaction", 409, 413, 422, 429, 503)
	submit.Method, submit.DefaultStatus = http.MethodPost, http.StatusAccepted
	submit.MaxBodyBytes, submit.BodyReadTimeout = state.MaxTx, 10*time.Second
	submit.Description = "A COSE_Sign1 or COSE_Sign, signed by the actor. It is taken to wait for a block, no more: submit the same bytes again until they are logged."
	register(api, submit, func(ctx context.Context, r *struct {
		RawBody []byte `contentType:"application/cose"`
	}) (*body[submittedBody], error) {
		leaf := tlog.LeafHash(r.RawBody)
		// What is logged already is as good as taken: whoever lost the answer asks again.
		if st, err := n.Standing(ctx, leaf); err != nil {
			return nil, s.ledgerProblem(err)
		} else if !st.Logged {
			if err := n.Submit(ctx, r.RawBody); err != nil {
				return nil, s.refusal(err)
			}
		}
		return &body[submittedBody]{"no-store", submittedBody{hexOf(leaf)}}, nil
	})
	register(api, at("ledgerStanding", "/transactions/{leaf}", "Tell what became of a transaction", 422), func(ctx context.Context, r *struct {
		Leaf string `path:"leaf" maxLength:"64"`
	}) (*body[standingBody], error) {
		leaf, err := parseHashText(r.Leaf)
		if err != nil {
			return nil, err
		}
		st, err := n.Standing(ctx, leaf)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		out := &body[standingBody]{"no-cache", standingBody{Logged: st.Logged, Height: st.Height, Cosigned: st.Cosigned, Time: st.Time}}
		if st.Logged {
			out.Body.Index, out.Body.ID = st.Index, n.LeafID(st.Index)
		}
		return out, nil
	})
	register(api, at("ledgerEntry", "/entries/{index}", "An entry of the log with its proof", 404, 422, 503), func(_ context.Context, r *struct {
		Index string `path:"index" maxLength:"20"`
	}) (*body[logEntryBody], error) {
		index, err := strconv.ParseUint(r.Index, 10, 63)
		if err != nil {
			return nil, problemInvalid.with("an index is a number")
		}
		entry, proof, err := n.Entry(index)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		line, fields := describeEntry(index, entry)
		return &body[logEntryBody]{"no-cache", logEntryBody{line, entry, string(proof), fields}}, nil
	})
	register(api, at("ledgerEntries", "/entries", "List entries of the log, newest first"), func(_ context.Context, r *struct {
		Before uint64 `query:"before" maximum:"9007199254740991" doc:"Index; those below it. Zero: all"`
	}) (*body[[]EntryLine], error) {
		lines, err := newestEntries(n, r.Before)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		return &body[[]EntryLine]{"no-cache", lines}, nil
	})
	s.describeVote(api)
	type file struct {
		CacheControl string `header:"Cache-Control"`
		ContentType  string `header:"Content-Type"`
		Anybody      string `header:"Access-Control-Allow-Origin"`
		Body         []byte
	}
	proof := at("ledgerProof", "/proofs/{leaf}", "The proof that a transaction is logged (C2SP tlog-proof)", 404, 422, 503)
	proof.Responses = fileResponse("text/plain")
	register(api, proof, func(ctx context.Context, r *struct {
		Leaf string `path:"leaf" maxLength:"64"`
	}) (*file, error) {
		leaf, err := parseHashText(r.Leaf)
		if err != nil {
			return nil, err
		}
		data, err := n.Prove(ctx, leaf)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		return &file{"no-cache", "text/plain; charset=utf-8", "*", data}, nil
	})
	s.describeOrigin(api)
	register(api, at("ledgerReceipt", "/receipts/{root}", "The notary's signature over the root of a batch that is logged and cosigned", 404, 422, 503), func(ctx context.Context, r *struct {
		Root string `path:"root" maxLength:"64"`
	}) (*body[rootSignatureBody], error) {
		root, err := parseHashText(r.Root)
		if err != nil {
			return nil, err
		}
		sig, err := n.Receipt(ctx, root)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		return &body[rootSignatureBody]{"no-store", rootSignatureBody{int64(sig.Alg), hex.EncodeToString(sig.KID[:]), sig.Signature}}, nil
	})
	register(api, at("ledgerResolve", "/resolve/{oid}", "What the ledger has under an identifier, and what proves it", 404, 422, 503), func(ctx context.Context, r *struct {
		OID string `path:"oid" maxLength:"256"`
	}) (*body[resolvedBody], error) {
		oid, err := parseOIDText(r.OID)
		if err != nil {
			return nil, err
		}
		found, err := n.Resolve(ctx, oid)
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		out := &body[resolvedBody]{"no-cache", resolvedBody{OID: oid.String(), Kind: found.Kind, Value: found.Value, Proof: string(found.Proof), State: found.State, Since: found.Since}}
		for _, row := range found.Rows {
			out.Body.Rows = append(out.Body.Rows, provenRowBody{hex.EncodeToString([]byte(row.Key)), row.Value, row.Proof})
		}
		return out, nil
	})
}

// describeOrigin registers what other nodes join by. None of it is believed.
func (s *server) describeOrigin(api huma.API) {
	from, ok := s.Ledger.Replica.(notary.Origin)
	if !ok {
		return
	}
	type list struct {
		CacheControl string   `header:"Cache-Control"`
		Body         []uint64 `doc:"Heights, ascending"`
	}
	type file struct {
		CacheControl string `header:"Cache-Control"`
		ContentType  string `header:"Content-Type"`
		Body         []byte
	}
	type height struct {
		Height uint64 `path:"height" maximum:"9007199254740991"`
	}
	give := func(id, path, summary, kind string, read func(uint64) ([]byte, error)) {
		register(api, huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/v1/ledger" + path, Summary: summary, Errors: []int{404, 503},
			Tags: []string{"ledger"}, Responses: fileResponse(kind)}, func(_ context.Context, r *height) (*file, error) {
			data, err := read(r.Height)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, problemNotLogged
			}
			if err != nil {
				return nil, s.ledgerProblem(err)
			}
			return &file{"no-cache", kind, data}, nil
		})
	}
	register(api, huma.Operation{OperationID: "ledgerSnapshots", Method: http.MethodGet, Path: "/v1/ledger/snapshots",
		Summary: "List the heights of which there is a snapshot", Errors: []int{503}, Tags: []string{"ledger"}}, func(context.Context, *struct{}) (*list, error) {
		all, err := from.Snapshots()
		if err != nil {
			return nil, s.ledgerProblem(err)
		}
		return &list{"no-cache", append([]uint64{}, all...)}, nil
	})
	give("ledgerSnapshot", "/snapshots/{height}", "The rows of the ledger at the end of an epoch", "application/cbor", from.Snapshot)
	give("ledgerBlock", "/blocks/{height}", "Header, commit and validators of a block, in the encoding of the engine", "application/protobuf", from.Block)
}

func proposalOf(b *state.Ballots) proposalBody {
	out := proposalBody{
		ID: hexOf(b.ID), About: proposalNames[b.About], Proposer: b.Proposer.String(), Deadline: time.Unix(int64(b.Deadline), 0).UTC(),
		Yes: []string{}, No: []string{}, Outcome: b.Outcome, Holds: b.Called,
	}
	for _, o := range b.Yes {
		out.Yes = append(out.Yes, o.String())
	}
	for _, o := range b.No {
		out.No = append(out.No, o.String())
	}
	return out
}
