package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/party/verifier"
)

// demoWorld is what there is of the demonstration outside its first country.
type demoWorld struct {
	*demo
	dir        string
	started    time.Time
	federation bool
	t          terminal

	countries []*demoProcess
	opened    chan string // address of the first country
}

// demoProcess is a child: another country, or only its node of the ledger.
type demoProcess struct {
	participant string
	command     *exec.Cmd
	orders      io.WriteCloser
	answers     chan demoAnswer // closed when the process has ended
	ended       chan struct{}
}

// open tells where the first country is.
func (w *demoWorld) open(address string) { w.opened <- address }

// start starts the other countries, which make their keys beside the first.
func (w *demoWorld) start() error {
	w.opened = make(chan string, 1)
	w.change(func(s *scene) { s.Country.Participant, s.Federation = demoNeighbour, w.federation })
	args := []string{"demo-country", "--dir", w.neighbourDir(), "--country", "XB", "--participant", demoNeighbour}
	if err := w.spawn(demoNeighbour, append(args, w.nodes[demoNeighbour]...)); err != nil {
		return err
	}
	for _, code := range demoMembers[2:] {
		if node := w.nodes[code]; node != nil {
			args := []string{"demo-country", "--dir", filepath.Join(w.dir, "countries", code), "--country", "XA", "--participant", code, "--node-only"}
			if err := w.spawn(code, append(args, node...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// demoNeighbour is the second country.
const demoNeighbour = "XXB"

func (w *demoWorld) neighbourDir() string { return filepath.Join(w.dir, "countries", demoNeighbour) }

// spawn starts this program as another country. It ends with its standard input, and so
// with this process, however that ends.
func (w *demoWorld) spawn(participant string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &demoProcess{participant: participant, command: exec.Command(self, args...), answers: make(chan demoAnswer, 1), ended: make(chan struct{})}
	// What a server here is configured by is no business of theirs.
	p.command.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AMPOULE_") })
	if p.orders, err = p.command.StdinPipe(); err != nil {
		return err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return err
	}
	complaints, err := p.command.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.command.Start(); err != nil {
		return err
	}
	w.countries = append(w.countries, p)
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(complaints)
		for lines.Scan() {
			fmt.Fprintf(w.t.err, "%s: %s\n", participant, lines.Text())
		}
	})
	reading.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var a demoAnswer
			if err := json.Unmarshal(lines.Bytes(), &a); err == nil {
				p.answers <- a
			}
		}
		close(p.answers)
	})
	go func() {
		reading.Wait()
		_ = p.command.Wait() // it has said what was wrong
		close(p.ended)
	}()
	return nil
}

// next waits for an answer.
func (p *demoProcess) next(ctx context.Context) (a demoAnswer, err error) {
	select {
	case <-ctx.Done():
		return a, ctx.Err()
	case a, ok := <-p.answers:
		switch {
		case !ok:
			return a, fmt.Errorf("%s has ended", p.participant)
		case a.Error != "":
			return a, fmt.Errorf("%s: %s", p.participant, a.Error)
		}
		return a, nil
	}
}

// tell tells a country what to do, and waits until it is done.
func (p *demoProcess) tell(ctx context.Context, o demoOrder) (demoAnswer, error) {
	if err := json.NewEncoder(p.orders).Encode(o); err != nil {
		return demoAnswer{}, fmt.Errorf("%s: %w", p.participant, err)
	}
	return p.next(ctx)
}

// stop ends all countries.
func (w *demoWorld) stop() {
	for _, p := range w.countries {
		_ = p.orders.Close()
	}
	for _, p := range w.countries {
		go func() { // nobody waits for its answers any more
			for range p.answers {
			}
		}()
		select {
		case <-p.ended:
		case <-time.After(15 * time.Second):
			_ = p.command.Process.Kill()
			<-p.ended
		}
	}
}

// logLater is [demo.logRecords] beside the service: most of the others must be there first.
func (w *demoWorld) logLater(ctx context.Context, s *service) error {
	go func() {
		if err := w.logRecords(ctx, s); err != nil && ctx.Err() == nil {
			fmt.Fprintf(w.t.err, "the ledger: %v\n", err)
		}
	}()
	return nil
}

// join brings the countries together, beside the service, which goes on.
func (w *demoWorld) join(ctx context.Context, s *service) {
	go func() {
		err := w.joined(ctx, s)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(w.started).Seconds()
		w.change(func(s *scene) {
			s.Ready, s.Seconds = err == nil, took
			if err != nil {
				s.Trouble = err.Error()
			}
		})
		if err != nil {
			fmt.Fprintf(w.t.err, "the other countries: %v\n", err)
			return
		}
		fmt.Fprintf(w.t.out, "scene ready after %.1f s\n", took)
	}()
}

// joined is the common part of the scene: each step is one of the life of a trust
// network.
func (w *demoWorld) joined(ctx context.Context, s *service) error {
	other := w.countries[0]
	var address string
	select {
	case <-ctx.Done():
		return ctx.Err()
	case address = <-w.opened:
	}
	here := demoCountry{demoParticipant, address}
	if err := here.verified(ctx, w); err != nil {
		return err
	}

	// Step 1: the second country is there.
	a, err := other.next(ctx)
	if err != nil {
		return err
	}
	there := demoCountry{demoNeighbour, a.Address}
	// By another name than the first: browsers share cookies between all ports of a host.
	w.change(func(s *scene) { s.Country.Address = strings.Replace(a.Address, "127.0.0.1", "localhost", 1) })

	// Step 2: both are taken into the network, and learn each other's keys. The first
	// country's word on its places travels with them.
	for participant, from := range map[string]string{demoParticipant: w.dir, demoNeighbour: w.neighbourDir()} {
		if err := s.onboard(ctx, w.dir, participant, from); err != nil {
			return fmt.Errorf("%s is not taken in: %w", participant, err)
		}
	}
	if err := w.net.upload(w.dir); err != nil {
		return err
	}
	if err := s.goods.round(ctx, true); err != nil {
		return err
	}
	lines, err := s.goods.Lines(ctx)
	if err != nil {
		return err
	}
	own := filepath.Join(w.dir, "own-lots.txt")
	if err := os.WriteFile(own, lines, 0o644); err != nil {
		return err
	}
	order := demoOrder{
		Do: "join", Network: w.net, Lots: []string{filepath.Join(w.dir, "lots.txt"), own},
		LotKeys: append(demoLotKeys(w.dir), "participant:"+demoParticipant+"="+filepath.Join(w.dir, "places.pem")),
	}
	joined, err := other.tell(ctx, order)
	if err != nil {
		return err
	}
	if err := w.pull(ctx, s); err != nil {
		return err
	}

	// Step 3: each judges what the other issued.
	if err := w.add(
		httpapi.Sample{ID: "stolen-before", Title: "Signed with a key that was stolen later", Note: "Issued by the second country before its key was stolen; it was signed anew since.", Text: joined.Texts["held"]},
		httpapi.Sample{ID: "stolen-key", Title: "Stolen key", Note: "Signed by a thief with a key of the second country. The key was taken off the network.", Text: joined.Texts["thief"]},
	); err != nil {
		return err
	}
	var said []sceneVerdict
	for _, id := range []string{"icvp-yellow-fever", "dcc-test", "recalled-lot", "given-frozen", "given-beside", "given-elsewhere", "forged"} {
		v, err := there.judge(ctx, w, id)
		if err != nil {
			return err
		}
		said = append(said, v)
	}
	w.change(func(s *scene) { s.Country.Said = said })

	// Step 4: the theft is found. The key is taken back, and holders get their
	// certificates anew.
	judged := []string{"stolen-before", "stolen-key"}
	stolen := sceneStolen{KID: joined.KID}
	if stolen.Before, err = here.judgeAll(ctx, w, judged); err != nil {
		return err
	}
	order.Do = "compromise"
	done, err := other.tell(ctx, order)
	if err != nil {
		return err
	}
	stolen.Reissued = done.Reissued
	if err := w.pull(ctx, s); err != nil {
		return err
	}
	if err := w.add(httpapi.Sample{
		ID: "stolen-anew", Title: "Signed anew", Note: "The holder's certificate again, by the second country's next key.", Text: done.Texts["anew"],
	}); err != nil {
		return err
	}
	if stolen.After, err = here.judgeAll(ctx, w, append(judged, "stolen-anew")); err != nil {
		return err
	}
	w.mu.Lock()
	w.scene.Stolen = &stolen
	for _, v := range stolen.After {
		i := slices.IndexFunc(w.samples, func(x httpapi.Sample) bool { return x.ID == v.Sample })
		w.samples[i].Want = verifier.Outcome(v.Outcome)
	}
	w.mu.Unlock()
	s.forget()
	_, err = s.publishNow(ctx)
	return err
}

// pull has the first country take the lists of the network.
func (w *demoWorld) pull(ctx context.Context, s *service) error {
	list, err := w.net.pull(w.dir)
	if err != nil {
		return err
	}
	s.believe(func(c *config.Config) {
		if !slices.Contains(c.Verifier.Trust, list) {
			c.Verifier.Trust, c.Verifier.Pin = append(c.Verifier.Trust, list), append(c.Verifier.Pin, w.net.Anchor)
		}
	})
	_, err = s.publishNow(ctx)
	return err
}

// demoCountry is a service of the demonstration from outside.
type demoCountry struct{ participant, address string }

// verified waits for the first certificate that the service says is valid.
func (c *demoCountry) verified(ctx context.Context, w *demoWorld) error {
	v, err := c.judge(ctx, w, "icvp-yellow-fever")
	if err == nil && v.Outcome != string(verifier.Valid) {
		err = fmt.Errorf("the first certificate is %s (%s)", v.Outcome, v.Reason)
	}
	if err == nil {
		fmt.Fprintf(w.t.out, "first certificate verified after %.1f s\n", time.Since(w.started).Seconds())
	}
	return err
}

func (c *demoCountry) judgeAll(ctx context.Context, w *demoWorld, ids []string) (said []sceneVerdict, err error) {
	for _, id := range ids {
		v, err := c.judge(ctx, w, id)
		if err != nil {
			return nil, err
		}
		said = append(said, v)
	}
	return said, nil
}

// judge asks a country's verifier about a sample.
func (c *demoCountry) judge(ctx context.Context, w *demoWorld, id string) (v sceneVerdict, err error) {
	text := ""
	w.mu.Lock()
	for _, s := range w.samples {
		if s.ID == id {
			text = s.Text
		}
	}
	w.mu.Unlock()
	body, err := json.Marshal(map[string]any{"texts": []string{text}})
	if err != nil {
		return v, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address+"/v1/verify", bytes.NewReader(body))
	if err != nil {
		return v, err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	var answer struct{ Verdicts []verifier.Report }
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return v, err
	}
	if len(answer.Verdicts) != 1 {
		return v, fmt.Errorf("%s does not judge sample %s: %s", c.participant, id, res.Status)
	}
	a := answer.Verdicts[0]
	return sceneVerdict{id, c.participant, string(a.Outcome), a.Reason, string(a.Advice.Value)}, nil
}
