//! What the targets share: changes of JSON texts that stay JSON, and what must
//! hold of every message.

use pinnace::error::{LINE, brief, printable};
use serde_json::Value;

/// xorshift64*.
pub struct Rng(u64);

impl Rng {
    /// From any seed.
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed) | 1 << 40)
    }

    /// A number below `sides`.
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }

    /// One of several.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// For `fuzz_mutator!`: mostly one to four changes of the document, else of its bytes.
pub fn mutate_json(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut rng = Rng::new(seed);
    let parsed = serde_json::from_slice::<Value>(&data[..size]);
    if let (Ok(mut document), true) = (parsed, rng.below(3) > 0) {
        for _ in 0..=rng.below(4) {
            change(&mut document, &mut rng);
        }
        if let Ok(text) = serde_json::to_vec(&document)
            && text.len() <= most
        {
            data[..text.len()].copy_from_slice(&text);
            return text.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, most)
}

/// Values that programs stumble over.
fn odd(rng: &mut Rng) -> Value {
    let long = "x".repeat(1 << rng.below(13));
    let texts = [
        "",
        "/",
        "..",
        "a/../b",
        "\0",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{e4}",
        "a b",
        "\"",
        "\\u0000",
        "-1",
        "0-3,7",
        "max",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_CMP_EQ",
        "SCMP_ARCH_X86",
        "rbind",
        "idmap",
        "user",
        "mount",
        "RLIMIT_NOFILE",
        "CAP_SYS_ADMIN",
        "name=value",
        long.as_str(),
    ];
    match rng.below(6) {
        0 => Value::Null,
        1 => (rng.below(2) == 0).into(),
        2 => rng
            .pick(&[0, 1, -1, 8, 4095, 4096, 65_536, i64::from(u32::MAX), i64::MAX, i64::MIN])
            .into(),
        3 => rng.pick(&[
            Value::from(u64::MAX),
            1.5.into(),
            Value::Array(Vec::new()),
            serde_json::json!({}),
        ]),
        _ => rng.pick(&texts).into(),
    }
}

/// Changes one value somewhere in the document.
fn change(value: &mut Value, rng: &mut Rng) {
    let deeper = rng.below(8) > 0;
    match value {
        Value::Object(map) if !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = rng.pick(&keys);
            match rng.below(24) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(key, odd(rng))),
                2 => {
                    let (name, value) = (odd(rng), map[&key].clone());
                    map.insert(name.as_str().unwrap_or("x").to_owned(), value);
                }
                3 => {
                    let other = map[&rng.pick(&keys)].clone();
                    map.insert(key, other);
                }
                _ => change(map.get_mut(&key).unwrap_or(&mut Value::Null), rng),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let at = rng.below(list.len());
            match rng.below(12) {
                0 => drop(list.remove(at)),
                1 => list.push(odd(rng)),
                2 => list.push(list[at].clone()),
                3 => {
                    let copies = vec![list[at].clone(); rng.below(64)];
                    list.extend(copies);
                }
                4 => {
                    let other = rng.below(list.len());
                    list.swap(at, other);
                }
                _ => change(&mut list[at], rng),
            }
        }
        Value::String(text) if deeper => {
            let odd = odd(rng);
            let at = (0..=rng.below(text.len() + 1)).rfind(|at| text.is_char_boundary(*at));
            text.insert_str(at.unwrap_or(0), odd.as_str().unwrap_or("1"));
        }
        Value::Number(number) if deeper => {
            let step = rng.pick(&[-1, 1, 2, 16, 1 << 31]);
            *value = number.as_i64().unwrap_or_default().wrapping_add(step).into();
        }
        value => *value = odd(rng),
    }
}

/// What is told is one short line that a terminal can show.
pub fn told(message: &str) {
    let line = brief(message);
    assert!(line.len() <= LINE, "{} bytes", line.len());
    assert_eq!(printable(&line), line);
    assert!(!line.contains(char::is_control));
}
