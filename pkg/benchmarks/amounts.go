package main

// amounts says how much is measured.
type amounts struct {
	blocks, calls    int // of the paired measures
	hotBlocks        int
	hotCalls         int
	rounds           int // of throughput
	throughputCalls  int
	pythonCalls      int // of throughput: its rate does not depend on their number
	growthRounds     int
	callerCounts     []int
	processRounds    int
	processCounts    []int
	coldRounds       int
	profileSeconds   int
	isShort          bool
	manyCallers      int
	hotPathGoroutine []int
}

func full() amounts {
	return amounts{
		blocks: 200, calls: 200, hotBlocks: 200, hotCalls: 64_000,
		rounds: 10, throughputCalls: 20_000, pythonCalls: 4_000,
		growthRounds: 3, callerCounts: []int{1, 8, 64, 512},
		processRounds: 10, processCounts: []int{1, 10, 100},
		coldRounds: 60, profileSeconds: 5, manyCallers: 64, hotPathGoroutine: []int{1, 2, 64},
	}
}

// quick visits every line of the harness.
func quick() amounts {
	return amounts{
		blocks: 5, calls: 20, hotBlocks: 5, hotCalls: 6_400,
		rounds: 1, throughputCalls: 1_000, pythonCalls: 300,
		growthRounds: 1, callerCounts: []int{1, 64},
		processRounds: 1, processCounts: []int{1, 5},
		coldRounds: 2, profileSeconds: 1, isShort: true, manyCallers: 64, hotPathGoroutine: []int{1, 2, 64},
	}
}
