package main

type nodeCmd struct {
	nodeVoteCmds
}
