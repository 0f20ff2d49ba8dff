//! Random choices that are the same wherever and whenever they are made: drawn from a hash of who chooses and of
//! what, never from a generator.

/// Of who chooses: 64 bits that say nothing of the next one's. FNV-1a, mixed.
#[must_use]
pub fn draw_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

/// The finalizer of SplitMix64 (Steele and others, 2014): each bit in changes half of those out.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What a drawer draws about one thing: above 0, up to 1.
#[must_use]
pub(crate) fn unit(draw: u64, about: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
    let part = (mix(draw ^ about.rotate_left(32)) >> 11) as f64;
    (part + 1.0) / (1u64 << 53) as f64
}

/// One of the draws by which one of several is chosen with odds in proportion to their weights: the least wins
/// (weighted rendezvous hashing: whoever is missing, no two others change places).
#[must_use]
pub(super) fn weighted(draw: u64, about: u64, weight: f64) -> f64 {
    if weight > 0.0 { -unit(draw, about).ln() / weight } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_are_as_the_weights() {
        let weights = [1.0, 2.0, 5.0, 0.0];
        let mut won = [0u32; 4];
        for client in 0..80_000u64 {
            let draw = draw_of(&client.to_string());
            let key = |n: &usize| weighted(draw, draw_of(&format!("edge {n}")), weights[*n]);
            let best = (0..4).min_by(|a, b| key(a).total_cmp(&key(b))).unwrap();
            won[best] += 1;
        }
        let near = |won: u32, expected: f64| (f64::from(won) - expected).abs() < 600.0;
        assert!(near(won[0], 10_000.0) && near(won[1], 20_000.0) && near(won[2], 50_000.0), "{won:?}");
        assert_eq!(won[3], 0);
    }

    #[test]
    fn units_lie_where_they_must() {
        for n in 0..10_000 {
            let unit = unit(n, 7);
            assert!(unit > 0.0 && unit <= 1.0);
        }
        assert!((weighted(3, 4, 1.0) - weighted(3, 4, 1.0)).abs() < f64::EPSILON, "the same again");
    }
}
