//! The pages, a file each.

use super::Language;
use crate::model::TcpState;

/// The text of a state's page.
pub(super) const fn of(state: TcpState, language: Language) -> &'static str {
    macro_rules! page {
        ($name:literal) => {
            match language {
                Language::En => include_str!(concat!("../../../pages/en/", $name, ".txt")),
                Language::Zh => include_str!(concat!("../../../pages/zh/", $name, ".txt")),
            }
        };
    }
    match state {
        TcpState::Close => page!("close"),
        TcpState::Listen => page!("listen"),
        TcpState::SynSent => page!("syn_sent"),
        TcpState::SynRecv => page!("syn_recv"),
        TcpState::Established => page!("established"),
        TcpState::FinWait1 => page!("fin_wait1"),
        TcpState::FinWait2 => page!("fin_wait2"),
        TcpState::Closing => page!("closing"),
        TcpState::TimeWait => page!("time_wait"),
        TcpState::CloseWait => page!("close_wait"),
        TcpState::LastAck => page!("last_ack"),
    }
}
