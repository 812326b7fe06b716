//! Numbers as printf(3) and people write them.

/// The number at the beginning of a text; 0 if there is none.
pub fn parse(text: &str) -> f64 {
    text.trim().parse().unwrap_or(0.0)
}

/// `%.Ng`: that many significant digits, without zeros at the end.
pub fn general(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = digits as i32 - 1 - exponent;
    if exponent >= -4 && places >= 0 {
        return shorten(&format!("{value:.*}", places as usize)).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", shorten(mantissa), exponent.abs())
}

fn shorten(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Three digits or so, as a table shows it.
pub fn short(value: f64) -> String {
    let places = match value {
        _ if value >= 100.0 || value == value.trunc() => 0,
        _ if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_printf() {
        for (value, digits, wanted) in [
            (0.0, 3, "0"),
            (1.0, 6, "1"),
            (0.25, 6, "0.25"),
            (1234.5678, 6, "1234.57"),
            (1234567.0, 6, "1.23457e+06"),
            (999999.5, 6, "1e+06"),
            (0.0001, 1, "0.0001"),
            (0.00001234, 3, "1.23e-05"),
            (99.96, 3, "100"),
            (-2.5, 5, "-2.5"),
        ] {
            assert_eq!(general(value, digits), wanted, "{value}");
        }
        for (value, wanted) in
            [(3.0, "3"), (2.125, "2.12"), (31.37, "31.4"), (314.2, "314"), (0.5, "0.50")]
        {
            assert_eq!(short(value), wanted);
        }
    }
}
