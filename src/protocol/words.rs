//! The PGP word list: words for bytes, and bytes for the words that a user types.
//!
//! Two lists of 256 words, by Patrick Juola and Philip Zimmermann (1996). Bytes at even
//! positions use the list of two-syllable words, bytes at odd positions the list of
//! three-syllable words, so that a swapped or missing word is noticed. scat-protocol(7)
//! prints both lists.

/// The two-syllable words, in the order of their bytes. A string costs its
/// letters and 255 spaces; an array of 256 strings would cost a pointer, a
/// length and, in a position-independent binary, a relocation for each.
const EVEN: &str = "\
    aardvark absurd accrue acme adrift adult afflict ahead aimless algol \
    allow alone ammo ancient apple artist assume athens atlas aztec baboon \
    backfield backward banjo beaming bedlamp beehive beeswax befriend \
    belfast berserk billiard bison blackjack blockade blowtorch bluebird \
    bombast bookshelf brackish breadline breakup brickyard briefcase \
    burbank button buzzard cement chairlift chatter checkup chisel choking \
    chopper christmas clamshell classic classroom cleanup clockwork cobra \
    commence concert cowbell crackdown cranky crowfoot crucial crumpled \
    crusade cubic dashboard deadbolt deckhand dogsled dragnet drainage \
    dreadful drifter dropper drumbeat drunken dupont dwelling eating edict \
    egghead eightball endorse endow enlist erase escape exceed eyeglass \
    eyetooth facial fallout flagpole flatfoot flytrap fracture framework \
    freedom frighten gazelle geiger glitter glucose goggles goldfish \
    gremlin guidance hamlet highchair hockey indoors indulge inverse \
    involve island jawbone keyboard kickoff kiwi klaxon locale lockup merit \
    minnow miser mohawk mural music necklace neptune newborn nightbird \
    oakland obtuse offload optic orca payday peachy pheasant physique \
    playhouse pluto preclude prefer preshrunk printer prowler pupil puppy \
    python quadrant quiver quota ragtime ratchet rebirth reform regain \
    reindeer rematch repay retouch revenge reward rhythm ribcage ringbolt \
    robust rocker ruffled sailboat sawdust scallion scenic scorecard \
    scotland seabird select sentence shadow shamrock showgirl skullcap \
    skydive slingshot slowdown snapline snapshot snowcap snowslide solo \
    southward soybean spaniel spearhead spellbind spheroid spigot spindle \
    spyglass stagehand stagnate stairway standard stapler steamship \
    sterling stockman stopwatch stormy sugar surmount suspense sweatband \
    swelter tactics talon tapeworm tempest tiger tissue tonic topmost \
    tracker transit trauma treadmill trojan trouble tumor tunnel tycoon \
    uncut unearth unwind uproot upset upshot vapor village virus vulcan \
    waffle wallet watchword wayside willow woodlark zulu";

/// The three-syllable words, likewise.
const ODD: &str = "\
    adroitness adviser aftermath aggregate alkali almighty amulet amusement \
    antenna applicant apollo armistice article asteroid atlantic atmosphere \
    autopsy babylon backwater barbecue belowground bifocals bodyguard \
    bookseller borderline bottomless bradbury bravado brazilian breakaway \
    burlington businessman butterfat camelot candidate cannonball capricorn \
    caravan caretaker celebrate cellulose certify chambermaid cherokee \
    chicago clergyman coherence combustion commando company component \
    concurrent confidence conformist congregate consensus consulting \
    corporate corrosion councilman crossover crucifix cumbersome customer \
    dakota decadence december decimal designing detector detergent \
    determine dictator dinosaur direction disable disbelief disruptive \
    distortion document embezzle enchanting enrollment enterprise equation \
    equipment escapade eskimo everyday examine existence exodus fascinate \
    filament finicky forever fortitude frequency gadgetry galveston getaway \
    glossary gossamer graduate gravity guitarist hamburger hamilton \
    handiwork hazardous headwaters hemisphere hesitate hideaway holiness \
    hurricane hydraulic impartial impetus inception indigo inertia infancy \
    inferno informant insincere insurgent integrate intention inventive \
    istanbul jamaica jupiter leprosy letterhead liberty maritime matchmaker \
    maverick medusa megaton microscope microwave midsummer millionaire \
    miracle misnomer molasses molecule montana monument mosquito narrative \
    nebula newsletter norwegian october ohio onlooker opulent orlando \
    outfielder pacific pandemic pandora paperweight paragon paragraph \
    paramount passenger pedigree pegasus penetrate perceptive performance \
    pharmacy phonetic photograph pioneer pocketful politeness positive \
    potato processor provincial proximate puberty publisher pyramid \
    quantity racketeer rebellion recipe recover repellent replica reproduce \
    resistor responsive retraction retrieval retrospect revenue revival \
    revolver sandalwood sardonic saturday savagery scavenger sensation \
    sociable souvenir specialist speculate stethoscope stupendous \
    supportive surrender suspicious sympathy tambourine telephone therapist \
    tobacco tolerance tomorrow torpedo tradition travesty trombonist \
    truncated typewriter ultimate undaunted underfoot unicorn unify \
    universe unravel upcoming vacancy vagabond vertigo virginia visitor \
    vocalist voyager warranty waterloo whimsical wichita wilmington wyoming \
    yesteryear yucatan";

/// Fewest letters to which a word may be shortened.
const SHORTEST: usize = 3;

/// Meaning of a typed word at one position.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The byte of the only word that begins so.
    Word(u8),
    /// The beginning of several words, or fewer than 3 letters.
    Ambiguous,
    /// No word of the list begins so. Contains the nearest word of the same list, if it
    /// is near enough to suggest.
    ///
    /// The suggestion depends only on what was typed, so it reveals nothing about the
    /// expected word.
    Unknown(Option<&'static str>),
}

/// Returns the word for `byte` at `position`, counted from 0 over all bytes of the short
/// auth string. Only whether `position` is even or odd matters.
///
/// Source: scat-protocol(7), SHORT AUTHENTICATION STRING.
pub fn word(position: usize, byte: u8) -> &'static str {
    // Each list has 256 words (tested), so the default is never taken.
    words(position).nth(byte.into()).unwrap_or_default()
}

/// Returns the byte that `typed` means at `position`, counted as in [`word`].
///
/// Ignores case. A word may be shortened to any beginning of at least 3 letters that no
/// other word of its list shares; a complete word always wins. Uses only the list of this
/// position.
pub fn find(position: usize, typed: &str) -> Found {
    // No word is the beginning of another word of its list (tested), so complete words
    // need no rule.
    let mut meant = (0..=u8::MAX).zip(words(position)).filter(|(_, word)| {
        word.get(..typed.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(typed))
    });
    match (meant.next(), meant.next()) {
        (None, _) => Found::Unknown(nearest(position, typed)),
        (Some((byte, _)), None) if typed.len() >= SHORTEST => Found::Word(byte),
        _ => Found::Ambiguous,
    }
}

/// Returns the 256 words of the list for `position`.
fn words(position: usize) -> impl Iterator<Item = &'static str> {
    let list = if position.is_multiple_of(2) { EVEN } else { ODD };
    list.split(' ')
}

/// Returns the word nearest to `typed`, the first of several. Allows one edit per 3
/// letters, at most 3: enough for a typing mistake or a word spelled by ear, too few to
/// suggest anything for a word of the other list.
fn nearest(position: usize, typed: &str) -> Option<&'static str> {
    let allowed = (typed.len() / 3).min(3);
    let typed = typed.to_ascii_lowercase();
    words(position)
        // Words whose length differs by more than `allowed` cannot be near; this also
        // bounds the work for long input.
        .filter(|word| word.len().abs_diff(typed.len()) <= allowed)
        .map(|word| (edits(typed.as_bytes(), word.as_bytes()), word))
        .filter(|&(edits, _)| edits <= allowed)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, word)| word)
}

/// Returns the Levenshtein distance: how many bytes must be inserted, removed or replaced
/// to turn `a` into `b`.
pub fn edits(a: &[u8], b: &[u8]) -> usize {
    // One row of the table at a time: row[j] is the distance from the part of
    // `a` seen so far to b[..j].
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_512_words_are_the_published_ones() {
        for byte in 0..=u8::MAX {
            let bytes = [byte, byte];
            let published = pgp_words::to_words(&bytes);
            assert_eq!(word(0, byte), published[0].to_ascii_lowercase());
            assert_eq!(word(1, byte), published[1].to_ascii_lowercase());
        }
    }

    #[test]
    fn the_manual_page_shows_the_same_lists_at_the_same_bytes() {
        let page = include_str!("../../man/scat-protocol.7");
        for (position, heading) in [(0, ".Ss Even list"), (1, ".Ss Odd list")] {
            let section = page.split(heading).nth(1).unwrap();
            let table = section.split(".Bd -literal\n").nth(1).unwrap();
            let mut list = words(position).zip(0..=u8::MAX);
            for row in table.lines().take_while(|&row| row != ".Ed") {
                let (start, shown) = row.split_once(' ').unwrap();
                let start = u8::from_str_radix(start, 16).unwrap();
                for (byte, shown) in (start..=u8::MAX).zip(shown.split(' ')) {
                    assert_eq!(list.next(), Some((shown, byte)), "{row}");
                }
            }
            assert_eq!(list.next(), None);
        }
    }

    #[test]
    fn each_list_has_256_words_and_the_lists_share_none() {
        assert_eq!(words(0).count(), 256);
        assert_eq!(words(1).count(), 256);
        assert_eq!(words(0).chain(words(1)).collect::<HashSet<_>>().len(), 512);
        for word in words(0).chain(words(1)) {
            assert!(word.len() >= SHORTEST, "{word}");
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn only_the_parity_of_the_position_matters() {
        let sas = [0xeb, 0xdb, 0x7c, 0x7d, 0xc5, 0x76];
        let all = "trouble suspicious kiwi insincere solo impetus";
        let said: Vec<_> = (0..).zip(sas).map(|(i, byte)| word(i, byte)).collect();
        assert_eq!(said.join(" "), all);
    }

    #[test]
    fn every_word_typed_in_full_is_its_byte_in_any_case() {
        for position in 0..2 {
            for byte in 0..=u8::MAX {
                let word = word(position, byte);
                assert_eq!(find(position, word), Found::Word(byte), "{word}");
                let word = word.to_ascii_uppercase();
                assert_eq!(find(position, &word), Found::Word(byte), "{word}");
            }
        }
    }

    #[test]
    fn a_beginning_is_accepted_exactly_if_unique_and_3_letters_long() {
        for position in 0..2 {
            for byte in 0..=u8::MAX {
                let word = word(position, byte);
                for end in 0..word.len() {
                    let typed = &word[..end];
                    let meant = words(position).filter(|w| w.starts_with(typed)).count();
                    let expected =
                        if end >= 3 && meant == 1 { Found::Word(byte) } else { Found::Ambiguous };
                    assert_eq!(find(position, typed), expected, "{typed}");
                }
            }
        }
    }

    #[test]
    fn no_word_is_the_beginning_of_another_of_its_list() {
        for position in 0..2 {
            for word in words(position) {
                let longer = words(position).filter(|w| w.starts_with(word));
                assert_eq!(longer.count(), 1, "{word}");
            }
        }
    }

    #[test]
    fn examples_of_short_forms() {
        assert_eq!(find(0, "tro"), Found::Ambiguous); // trojan, trouble
        assert_eq!(find(0, "trou"), Found::Word(0xeb));
        assert_eq!(find(0, "KiW"), Found::Word(0x7c));
        assert_eq!(find(0, "ki"), Found::Ambiguous);
        assert_eq!(find(0, "zu"), Found::Ambiguous); // zulu only, but too short
        assert_eq!(find(1, "susp"), Found::Word(0xdb));
        assert_eq!(find(0, ""), Found::Ambiguous);
    }

    #[test]
    fn no_word_of_one_list_is_found_in_the_other() {
        for position in 0..2 {
            for other in words(position + 1) {
                assert!(matches!(find(position, other), Found::Unknown(_)), "{other}");
            }
        }
    }

    #[test]
    fn a_slip_or_a_word_spelled_by_ear_suggests_the_word() {
        assert_eq!(find(0, "trubble"), Found::Unknown(Some("trouble")));
        assert_eq!(find(0, "Kiwy"), Found::Unknown(Some("kiwi")));
        assert_eq!(find(0, "rythm"), Found::Unknown(Some("rhythm")));
        assert_eq!(find(1, "suspishous"), Found::Unknown(Some("suspicious")));
        assert_eq!(find(1, "yukatan"), Found::Unknown(Some("yucatan")));
        assert_eq!(find(0, "kiwis"), Found::Unknown(Some("kiwi")));
    }

    #[test]
    fn a_suggestion_comes_from_the_list_of_the_position_only() {
        // One edit from a word of the other list, far from all of this one.
        assert_eq!(find(1, "aardvarc"), Found::Unknown(None));
        assert_eq!(find(0, "aardvarc"), Found::Unknown(Some("aardvark")));
        for position in 0..2 {
            for other in words(position + 1) {
                if let Found::Unknown(Some(word)) = find(position, other) {
                    assert!(words(position).any(|w| w == word), "{other}: {word}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_suggested_for_what_is_not_near_a_word() {
        for typed in ["x", "qq", "xyz", "scatterbrained", "1545", "ki wi wi"] {
            assert_eq!(find(0, typed), Found::Unknown(None), "{typed}");
        }
    }

    #[test]
    fn odd_input_is_unknown_and_harmless() {
        for typed in ["\u{df}", "\u{130}\u{130}", "kiw\u{131}", " kiwi", "kiwi solo", "\0\0\0"] {
            assert!(matches!(find(0, typed), Found::Unknown(_)), "{typed:?}");
        }
        assert_eq!(find(1, &"a".repeat(1 << 20)), Found::Unknown(None));
    }

    #[test]
    fn edits_are_counted_one_by_one() {
        assert_eq!(edits(b"", b"kiwi"), 4);
        assert_eq!(edits(b"kiwi", b""), 4);
        assert_eq!(edits(b"kiwi", b"kiwi"), 0);
        assert_eq!(edits(b"sitting", b"kitten"), 3);
    }
}
