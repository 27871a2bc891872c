//! The flights of a reconnection, on a network that mixes, alters and repeats them; and the
//! kept bytes of one direction, compared with a plain list.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::kept::{Error, Kept};
use scat::protocol::reconnect::{
    Answered, Asked, NONCELEN, R1_LEN, R2_LEN, R3_LEN, Refused, Tickets,
};
use scat::protocol::secret::Secret;
use scat_fuzz::input::Input;

/// A flight as it arrives: unchanged, or altered.
fn relay<const N: usize>(input: &mut Input<'_>, flight: &[u8; N]) -> [u8; N] {
    let mut flight = *flight;
    for _ in 0..input.byte() % 3 {
        flight[usize::from(input.byte()) % N] ^= input.byte();
    }
    flight
}

/// One attempt of the connector.
struct Attempt {
    r1: [u8; R1_LEN],
    at_c: u64,
    /// Present until R2 arrives.
    asked: Option<Asked>,
    /// L's answer to R1.
    answer: Option<([u8; R2_LEN], u64)>,
    /// Present until R3 arrives.
    answered: Option<Answered>,
    r3: Option<[u8; R3_LEN]>,
}

/// A flight is accepted only unaltered, for its attempt, and once.
fn flights(input: &mut Input<'_>) {
    let kr = || Secret::copy(&[4; 32]);
    let (c, mut l) = (Tickets::new(kr()), Tickets::new(kr()));
    let mut attempts: Vec<Attempt> = Vec::new();
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        let action = input.byte();
        if action % 4 == 0 && attempts.len() < 8 {
            let at_c = input.short() as u64;
            let (asked, r1) = c.ask(&[attempts.len() as u8; NONCELEN], at_c);
            let (answer, answered) = (None, None);
            attempts.push(Attempt { r1, at_c, asked: Some(asked), answer, answered, r3: None });
            continue;
        }
        if attempts.is_empty() {
            return;
        }
        let [at, other] =
            [input.byte(), input.byte()].map(|byte| usize::from(byte) % attempts.len());
        match action % 4 {
            0 | 1 => {
                let r1 = relay(input, &attempts[at].r1);
                let at_l = input.short() as u64;
                let result = l.answer(&r1, &[input.byte(); NONCELEN], at_l);
                let it = &mut attempts[at];
                let is_first = it.answer.is_none() && r1 == it.r1;
                assert_eq!(result.is_ok(), is_first, "R1");
                if let Ok((answered, r2)) = result {
                    (it.answer, it.answered) = (Some((r2, at_l)), Some(answered));
                }
            }
            2 => {
                let Some((r2, _)) = attempts[other].answer else { continue };
                let r2 = relay(input, &r2);
                let it = &mut attempts[at];
                let Some(asked) = it.asked.take() else { continue };
                let right = it.answer.filter(|(right, _)| *right == r2);
                match (asked.read_r2(&r2), right) {
                    (Ok((proven, r3)), Some((_, at_l))) => {
                        assert_eq!(proven.offset(), at_l);
                        it.r3 = Some(r3);
                    }
                    (Err(Refused), None) => {}
                    (result, right) => panic!("{:?} for {right:?}", result.is_ok()),
                }
            }
            _ => {
                let Some(r3) = attempts[other].r3 else { continue };
                let r3 = relay(input, &r3);
                let it = &mut attempts[at];
                let Some(answered) = it.answered.take() else { continue };
                let is_right = it.r3 == Some(r3);
                let result = answered.read_r3(&r3);
                assert_eq!(result.map(|proven| proven.offset()).ok(), is_right.then_some(it.at_c));
            }
        }
    }
}

/// Offsets and counts from a peer that sends any.
fn kept(input: &mut Input<'_>) {
    let byte = |at: u64| (at % 251) as u8 ^ (at >> 8) as u8;
    let mut kept = Kept::default();
    let (c, mut l) = (Tickets::new(Secret::copy(&[4; 32])), Tickets::new(Secret::copy(&[4; 32])));
    let (mut nonce, mut budget) = (0u16, 1usize << 20);
    // Offsets: the end of the sealed bytes, the position of this connection, the last count, the
    // acknowledged bytes, and the discarded ones.
    let (mut end, mut at, mut count, mut acknowledged, mut let_go) = (0u64, 0u64, 0, 0, 0);
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        let action = input.byte();
        // Mostly a possible offset.
        let offset = match action & 0x80 {
            0 => end.saturating_sub(input.size().min(1 << 20) as u64),
            _ => input.size().min(1 << 21) as u64,
        };
        match action & 7 {
            0 | 1 if at == end => {
                let n = input.size().min(budget);
                budget -= n;
                let bytes: Vec<u8> = (end..end + n as u64).map(byte).collect();
                kept.sent(&bytes);
                end += n as u64;
                at = end;
            }
            0..=2 => {
                let lacking = kept.lacking();
                assert_eq!(lacking.is_empty(), at == end);
                assert!(lacking.iter().zip(at..).all(|(got, at)| *got == byte(at)));
                let n = lacking.len().min(input.size());
                kept.resent(n);
                at += n as u64;
                assert!(at <= end);
            }
            3 | 4 => {
                let expected = match () {
                    () if offset < count => Err(Error::Back),
                    () if offset > end => Err(Error::Beyond),
                    () => Ok(()),
                };
                assert_eq!(kept.acknowledge(offset), expected);
                if expected.is_err() {
                    return;
                }
                count = offset;
                acknowledged = acknowledged.max(offset);
            }
            5 | 6 => {
                nonce += 1;
                let mut n_c = [0; NONCELEN];
                n_c[..2].copy_from_slice(&nonce.to_be_bytes());
                let (asked, r1) = c.ask(&n_c, offset);
                let (answered, r2) = l.answer(&r1, &n_c, 0).unwrap();
                let proven = answered.read_r3(&asked.read_r2(&r2).unwrap().1).unwrap();
                let expected = match () {
                    () if offset > end => Err(Error::Beyond),
                    () if offset < acknowledged => Err(Error::Back),
                    () if offset < let_go => Err(Error::LetGo),
                    () => Ok(()),
                };
                assert_eq!(kept.go_on(proven.offset()), expected);
                if expected.is_err() {
                    return;
                }
                (acknowledged, at) = (offset, offset);
            }
            _ if at == end => {
                let limit = input.size() as u64;
                kept.let_go_beyond(limit);
                let oldest = end.saturating_sub(limit);
                if oldest > acknowledged.max(let_go) {
                    let_go = oldest;
                }
            }
            _ => {}
        }
        at = at.max(acknowledged).max(let_go);
        assert_eq!(kept.acknowledged(), acknowledged);
        assert_eq!(kept.amount(), end - acknowledged.max(let_go));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    match input.bit() {
        true => flights(&mut input),
        false => kept(&mut input),
    }
});
