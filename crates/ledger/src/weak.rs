//! Public keys that no ledger entry may name.
//!
//! For a key whose point has a small order, one pair of bytes is a signature over every message: who
//! plants such a key lets anybody sign in its owner's name. And libraries differ in whether they read
//! a key whose coordinate is not below the field's prime (RFC 8032, section 5.1.3). Both are refused
//! where a key enters the ledger, so that every verifier means the same.

use palisade_keys::PublicKey;

/// What is said of such a key.
pub(crate) const WEAK_KEY: &str =
    "this is no sound Ed25519 public key: its point has a small order or is not in its one form";

/// The y coordinates of the points whose order divides 8, little-endian, below the prime 2^255 - 19.
const SMALL_ORDER: [[u8; 32]; 5] = [
    coordinate(0x00, 0x00, 0x00),
    coordinate(0x01, 0x00, 0x00),
    coordinate(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

const fn coordinate(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [low, .., high] = &mut bytes;
    *low = first;
    *high = last;
    bytes
}

/// Whether the ledger refuses `key`.
pub(crate) fn is_weak(key: &PublicKey) -> bool {
    let mut y = *key.as_bytes();
    let [low, middle @ .., high] = &mut y;
    // The highest bit is the sign of the other coordinate.
    *high &= 0x7f;
    let above_prime = *low >= 0xed && *high == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    above_prime || SMALL_ORDER.contains(&y)
}

/// What is said of such a key.
pub(crate) const WEAK_SEAL: &str =
    "this is no sound X25519 public key: its point has a small order or is not in its one form";

/// The u coordinates of Curve25519's points whose order divides 8, little-endian, below the prime:
/// with them everybody knows what two sides agree on (RFC 7748, section 6.1).
const SMALL_ORDER_U: [[u8; 32]; 5] = [
    coordinate(0x00, 0x00, 0x00),
    coordinate(0x01, 0x00, 0x00),
    coordinate(0xec, 0xff, 0x7f),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
];

/// Whether the ledger refuses the X25519 key `key`. Its highest bit means nothing (RFC 7748, section
/// 5), so a key that has it set is a second form of another.
pub(crate) fn is_weak_seal(key: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = key;
    let above_prime = *low >= 0xed && *high == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    *high > 0x7f || above_prime || SMALL_ORDER_U.contains(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> PublicKey {
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2).unwrap(), 16).unwrap();
        }
        PublicKey::from_bytes(bytes)
    }

    #[test]
    fn keys_of_small_order_and_second_forms_are_weak() {
        let f = "f".repeat(60);
        let zero = "0".repeat(62);
        for hex in [
            format!("00{zero}"),
            format!("01{zero}"),
            format!("00{}80", "0".repeat(60)),
            format!("ec{f}7f"),
            format!("ec{f}ff"),
            format!("ed{f}7f"),
            format!("ee{f}7f"),
            format!("ff{f}ff"),
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".to_owned(),
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85".to_owned(),
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
        ] {
            assert!(is_weak(&key(&hex)), "{hex}");
        }
        let sound = [
            format!("eb{f}7f"),
            format!("02{zero}"),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".to_owned(),
        ];
        for hex in sound {
            assert!(!is_weak(&key(&hex)), "{hex}");
        }
    }
}
