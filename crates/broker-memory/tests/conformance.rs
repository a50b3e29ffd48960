//! The memory broker keeps the laws of a broker.

use lovage_broker_memory::MemoryBroker;
use lovage_conformance::Harness;
use lovage_core::Clock;

struct MemoryHarness;

impl Harness for MemoryHarness {
    type Broker = MemoryBroker;

    async fn start(&mut self, clock: Clock) -> MemoryBroker {
        MemoryBroker::with_clock(clock)
    }
}

lovage_conformance::suite!(MemoryHarness);
