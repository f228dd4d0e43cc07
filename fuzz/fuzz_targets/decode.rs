//! A record of the ring buffer: any bytes give an event or an error, and an event has lost nothing on the way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcptrace::{
    model::{Event, KtimeNs},
    source::decode::{Malformed, decode},
};
use tcptrace_common::{RawMini, RawRecord};
use tcptrace_fuzz::record::encode;
use zerocopy::FromBytes as _;

/// HZ=250, and what no kernel has.
const TICKS: [u64; 3] = [4_000_000, 0, u64::MAX];

fuzz_target!(|bytes: &[u8]| {
    for tick_ns in TICKS {
        let decoded = decode(bytes, tick_ns);
        let (Ok(record), Ok(mini)) = (RawRecord::read_from_bytes(bytes), RawMini::read_from_bytes(bytes))
        else {
            assert_eq!(decoded, Err(Malformed::Size(bytes.len())));
            return;
        };
        let Ok(event) = decoded else { continue };
        assert_eq!(event.ts(), KtimeNs(record.ts_ns));
        if let Event::TimeWait(time_wait) = &event {
            assert!(time_wait.entered.is_none_or(|entered| entered <= time_wait.ts), "{time_wait:?}");
        }
        let again = encode(&event, &record, &mini);
        assert_eq!(decode(&again, tick_ns), Ok(event));
    }
});
