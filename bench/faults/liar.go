package main

import (
	"fmt"

	"github.com/cometbft/cometbft/blocksync"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	blocks "github.com/cometbft/cometbft/proto/tendermint/blocksync"
	"github.com/cometbft/cometbft/version"
)

// liar is a peer that says it has blocks which nobody has, and gives none.
type liar struct{ p2p.BaseReactor }

const liedHeight = 1 << 40

// askedForBlock is what a liar says when somebody believes it.
const askedForBlock = "asked for a block"

// runLiar connects to a node and stays with it. key is a node key that the other
// takes for a peer of its own.
func runLiar(key, chain, listen, target string) error {
	node, err := p2p.LoadNodeKey(key)
	if err != nil {
		return err
	}
	info := p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, version.BlockProtocol, 1),
		DefaultNodeID:   node.ID(), ListenAddr: listen, Network: chain, Version: version.TMCoreSemVer,
		Channels: []byte{blocksync.BlocksyncChannel}, Moniker: "peer",
		Other: p2p.DefaultNodeInfoOther{TxIndex: "off"},
	}
	settings := config.DefaultP2PConfig()
	settings.PexReactor, settings.AllowDuplicateIP = false, true
	transport := p2p.NewMultiplexTransport(info, *node, p2p.MConnConfig(settings))
	address, err := p2p.NewNetAddressString(p2p.IDAddressString(node.ID(), listen))
	if err != nil {
		return err
	}
	if err := transport.Listen(*address); err != nil {
		return err
	}
	l := new(liar)
	l.BaseReactor = *p2p.NewBaseReactor("liar", l)
	sw := p2p.NewSwitch(settings, transport)
	sw.SetLogger(log.NewNopLogger())
	sw.SetNodeInfo(info)
	sw.SetNodeKey(node)
	sw.AddReactor("BLOCKSYNC", l)
	if err := sw.AddPersistentPeers([]string{target}); err != nil {
		return err
	}
	if err := sw.Start(); err != nil {
		return err
	}
	if err := sw.DialPeersAsync([]string{target}); err != nil {
		return err
	}
	select {}
}

func (l *liar) GetChannels() []*conn.ChannelDescriptor {
	return []*conn.ChannelDescriptor{{ID: blocksync.BlocksyncChannel, Priority: 5, SendQueueCapacity: 1000,
		RecvBufferCapacity: 50 * 4096, RecvMessageCapacity: blocksync.MaxMsgSize, MessageType: &blocks.Message{}}}
}

func (l *liar) lie(p p2p.Peer) {
	p.Send(p2p.Envelope{ChannelID: blocksync.BlocksyncChannel, Message: &blocks.StatusResponse{Base: 1, Height: liedHeight}})
}

func (l *liar) AddPeer(p p2p.Peer) { l.lie(p) }

// Receive answers for the height, and lets those wait who ask for blocks.
func (l *liar) Receive(e p2p.Envelope) {
	switch e.Message.(type) {
	case *blocks.StatusRequest:
		l.lie(e.Src)
	case *blocks.BlockRequest:
		fmt.Println(askedForBlock)
	}
}
