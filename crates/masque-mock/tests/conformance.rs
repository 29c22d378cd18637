//! The mock against the suite that every transport must pass.

use std::sync::Arc;

use async_trait::async_trait;
use pseudotcp_masque::conformance::{self, Fixture, FlowEnd, Role};
use pseudotcp_masque::{OpenError, Target, Transport, TunnelError};
use pseudotcp_masque_mock::{Ending, Mock, Script};

struct InMemory(Mock);

const ROLES: [Role; 11] = [
    Role::Echo,
    Role::ReplyAtEnd,
    Role::EndFirst,
    Role::Source,
    Role::Stall,
    Role::Reset,
    Role::Witness,
    Role::Refuse,
    Role::Silent,
    Role::UdpEcho,
    Role::UdpRefuse,
];

fn script(role: Role) -> Script {
    match role {
        Role::ReplyAtEnd => Script::reply_at_end(conformance::reply()),
        Role::EndFirst => Script::end_first(conformance::reply()),
        Role::Source => Script::source(u64::MAX),
        Role::Stall => Script::stall(),
        Role::Reset => Script::discard().with_break_after(1),
        Role::Witness => Script::discard(),
        Role::Refuse => Script::fail(|| OpenError::Refused),
        Role::Silent => Script::silent(),
        Role::UdpRefuse => {
            Script::discard().with_break_after(1).with_breakage(|| TunnelError::Unreachable)
        }
        _ => Script::echo(),
    }
}

fn target(role: Role) -> Target {
    Target::host(&format!("{role:?}.example"), 7)
}

#[async_trait]
impl Fixture for InMemory {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.0.clone())
    }

    fn target(&self, role: Role) -> Option<Target> {
        ROLES.contains(&role).then(|| target(role))
    }

    async fn witnessed_end(&self) -> FlowEnd {
        loop {
            let ends = self.0.take_ends();
            if let Some(end) = ends.iter().find(|end| end.target == target(Role::Witness)) {
                return FlowEnd { received: end.received, clean: end.ending == Ending::Finished };
            }
            tokio::task::yield_now().await;
        }
    }

    fn buffer_limit(&self) -> u64 {
        1 << 20
    }
}

#[tokio::test(start_paused = true)]
async fn passes() {
    let mock = ROLES
        .into_iter()
        .fold(Mock::new(Script::echo()), |mock, role| mock.with(target(role), script(role)));
    conformance::run(&InMemory(mock)).await.assert_complete();
}
