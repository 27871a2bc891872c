//! Listening: many strangers, of whom the first good one becomes the peer.

use crate::error::Error;
use crate::event_loop::Wait;
use crate::net::candidate::{Network, Stage, Stranger, Verdict, Why};
use crate::net::{Family, Limit, Met, SOCKET, STEP, is_transient, tune};
use crate::policy::Policy;
use crate::protocol::handshake::{Accepted, Local};
use crate::report::{Address, RateLimit, Report};
use mio::net::TcpListener;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Time until the next look when the system had no room for a connection.
const AGAIN: Duration = Duration::from_millis(200);
/// Handshakes at once.
const STRANGERS: usize = 64;
/// Connections that the system holds for us meanwhile.
const BACKLOG: i32 = 128;
/// Strangers' tokens count up from here.
const FIRST_STRANGER: usize = 1;

/// Binds the first of `addresses` that is to be had.
///
/// # Errors
/// [`Error::Bind`].
pub fn bind(
    addresses: &[SocketAddr],
    any: bool,
    family: Family,
) -> Result<std::net::TcpListener, Error> {
    // One socket for both kinds: the IPv6 one, which takes IPv4 as well.
    let mut addresses = addresses.to_vec();
    if any {
        addresses.sort_by_key(SocketAddr::is_ipv4);
    }
    let mut refused = None;
    for address in addresses {
        match bind_one(address, any && family == Family::Any) {
            Ok(listener) => return Ok(listener),
            Err(why) => {
                let at = Address(address).to_string();
                let is_taken = why.kind() == io::ErrorKind::AddrInUse;
                refused = Some(Error::Bind { at, why });
                // Half a port is not what was asked for.
                if is_taken {
                    break;
                }
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::Bind {
        at: "no address".into(),
        why: io::ErrorKind::AddrNotAvailable.into(),
    }))
}

fn bind_one(address: SocketAddr, dual: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens until a stranger completes the handshake. The listening socket and
/// every other stranger are gone when this returns, so an opening cannot be
/// revealed by anything that this process does afterwards but once.
///
/// # Errors
/// [`Error::Waited`], [`Error::Signal`], [`Error::System`]; never because of a stranger.
pub fn listen(
    wait: &mut Wait,
    listener: std::net::TcpListener,
    local: &Local,
    policy: &Policy,
    limit: &Limit,
    status: Report,
) -> Result<Met<Accepted>, Error> {
    let system = |why| Error::System("listen", why);
    let at = listener.local_addr().map_err(system)?;
    let only_v6 = at.is_ipv6() && SockRef::from(&listener).only_v6().map_err(system)?;
    status.say(format_args!(
        "listening on {} port {}",
        match (at.ip(), only_v6) {
            (ip, _) if !ip.is_unspecified() => ip.to_canonical().to_string(),
            (IpAddr::V4(_), _) => "every IPv4 address,".to_owned(),
            (IpAddr::V6(_), true) => "every IPv6 address,".to_owned(),
            (IpAddr::V6(_), false) => "every address,".to_owned(),
        },
        at.port()
    ));
    let mut listener = TcpListener::from_std(listener);
    wait.registry().register(&mut listener, SOCKET, Interest::READABLE).map_err(system)?;
    let mut door = Door {
        local,
        policy,
        listener,
        strangers: Vec::new(),
        next: FIRST_STRANGER,
        served: HashMap::new(),
        turns: 0,
        failed: 0,
        is_knocked_at: false,
        log: RateLimit::new(),
        status,
    };
    loop {
        let deadline = if door.has_work() { Some(Instant::now()) } else { door.deadline(limit) };
        let asked = wait.until(deadline)?;
        limit.check()?;
        if asked.report {
            status.say(format_args!(
                "listening; {} handshakes under way, {} failed",
                door.strangers.len(),
                door.failed
            ));
        }
        let tokens: Vec<Token> = wait.events().map(|event| event.token()).collect();
        for token in tokens {
            if token == SOCKET {
                door.is_knocked_at = true;
            } else if let Some(met) = door.visit(token) {
                return Ok(met);
            }
        }
        door.send_away_the_late();
        if door.is_knocked_at {
            door.accept(wait).map_err(system)?;
        }
        if let Some(met) = door.answer_one() {
            return Ok(met);
        }
    }
}

/// The listening socket and the strangers before it.
struct Door<'a> {
    local: &'a Local,
    policy: &'a Policy,
    listener: TcpListener,
    strangers: Vec<Stranger<'a>>,
    next: usize,
    /// When each network had its last turn, by [`Door::turns`].
    served: HashMap<Network, u64>,
    turns: u64,
    failed: u64,
    /// There may be connections to accept.
    is_knocked_at: bool,
    log: RateLimit,
    status: Report,
}

impl<'a> Door<'a> {
    fn accept(&mut self, wait: &Wait) -> io::Result<()> {
        loop {
            let (mut stream, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    self.is_knocked_at = false;
                    return Ok(());
                }
                Err(why) => match why.raw_os_error() {
                    Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK) => return Err(why),
                    // No descriptors, no memory: a stranger goes, or it is tried again soon.
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        if self.strangers.is_empty() {
                            return Ok(());
                        }
                        self.evict();
                        continue;
                    }
                    // What went wrong with that one connection has taken it from the queue.
                    _ => continue,
                },
            };
            let token = Token(self.next);
            self.next += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            if tune(&stream).is_err() || wait.registry().register(&mut stream, token, both).is_err()
            {
                continue;
            }
            self.strangers.push(Stranger {
                stream,
                address,
                network: Network::of(&address),
                token,
                leave_by: Instant::now() + STEP,
                stage: Stage::Knocking(Vec::new()),
            });
            if self.strangers.len() > STRANGERS {
                self.evict();
            }
        }
    }

    /// Drops one: of the network that holds the most places, the first by rank.
    fn evict(&mut self) {
        let mut places: HashMap<Network, usize> = HashMap::new();
        for stranger in &self.strangers {
            *places.entry(stranger.network).or_default() += 1;
        }
        let most = places.values().copied().max().unwrap_or(0);
        let greedy = self.strangers.iter().filter(|it| places.get(&it.network) == Some(&most));
        if let Some(token) = greedy.min_by_key(|it| it.rank()).map(|it| it.token) {
            self.dismiss(token, Why::TooMany);
        }
    }

    /// Looks at one stranger. If it has become the peer, that is what comes back.
    fn visit(&mut self, token: Token) -> Option<Met<Accepted>> {
        let at = self.strangers.iter().position(|it| it.token == token)?;
        match self.strangers[at].advance(self.local, self.policy) {
            Ok(Verdict::Stays) => {}
            Ok(Verdict::Gone(why)) => self.dismiss(token, why),
            Ok(Verdict::Accepted(outcome)) => {
                let Stranger { stream, address, .. } = self.strangers.swap_remove(at);
                return Some(Met { stream, address, outcome: *outcome });
            }
            Err(why) if is_transient(&why) => {}
            Err(_) => self.dismiss(token, Why::Lost),
        }
        None
    }

    fn has_work(&self) -> bool {
        self.strangers.iter().any(|it| matches!(it.stage, Stage::Queued(_)))
    }

    /// Gives one turn, to the network that had none for the longest time.
    fn answer_one(&mut self) -> Option<Met<Accepted>> {
        let queued = self.strangers.iter_mut().filter(|it| matches!(it.stage, Stage::Queued(_)));
        let served = &self.served;
        let next = queued.min_by_key(|it| (served.get(&it.network), it.leave_by))?;
        let (token, network) = (next.token, next.network);
        let answered = next.answer(self.local);
        self.turns += 1;
        self.served.insert(network, self.turns);
        let strangers = &self.strangers;
        self.served.retain(|network, _| strangers.iter().any(|it| it.network == *network));
        if answered.is_err() {
            self.dismiss(token, Why::Random);
        }
        self.visit(token)
    }

    fn send_away_the_late(&mut self) {
        let now = Instant::now();
        while let Some(late) = self.strangers.iter().find(|it| it.leave_by <= now) {
            let why = match late.stage {
                Stage::Leaving(_, why) => why,
                _ => Why::TooSlow,
            };
            self.dismiss(late.token, why);
        }
    }

    fn deadline(&self, limit: &Limit) -> Option<Instant> {
        let again = self.is_knocked_at.then(|| Instant::now() + AGAIN);
        let first = self.strangers.iter().map(|it| it.leave_by).chain(again).min();
        first.map_or(limit.deadline(), |at| Some(limit.or(at)))
    }

    fn dismiss(&mut self, token: Token, why: Why) {
        let Some(at) = self.strangers.iter().position(|it| it.token == token) else {
            return;
        };
        let stranger = self.strangers.swap_remove(at);
        self.failed += 1;
        if !self.status.verbose && !why.concerns_user() {
            return;
        }
        if let Some(kept) = self.log.pass() {
            if kept > 0 {
                self.status.say(format_args!("({kept} more failed handshakes)"));
            }
            self.status.say(format_args!("{}: {why}", Address(stranger.address)));
        }
    }
}
