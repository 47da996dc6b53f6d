//! Amounts and addresses in replies.

/// `8832K` at the start of `text`, in bytes: units are B, K, M, G and T. More than an i64 holds is no amount.
pub(super) fn quantity(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let shift = match unit.bytes().next()? {
        b'B' => 0,
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        b'T' => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// The amount behind the first `key`.
pub(super) fn quantity_after(text: &str, key: &str) -> Option<u64> {
    quantity(text.split_once(key)?.1)
}

/// The whole number behind the first `key`, which a unit may follow.
pub(super) fn number_after(text: &str, key: &str) -> Option<u64> {
    let rest = text.split_once(key)?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok().filter(|number: &u64| i64::try_from(*number).is_ok())
}

/// `[bottom, top, end)`, which may have addresses between the last two: bytes from bottom to top, and from bottom to end.
pub(super) fn extent(text: &str) -> Option<(u64, u64)> {
    let (addresses, _) = text.split_once('[')?.1.split_once([')', ']'])?;
    let mut addresses = addresses.split(',').map(|address| {
        let digits = address.trim().strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    });
    let (bottom, top) = (addresses.next()??, addresses.next()??);
    let end = addresses.next_back()??;
    let (used, all) = (top.checked_sub(bottom)?, end.checked_sub(bottom)?);
    (used <= all && i64::try_from(all).is_ok()).then_some((used, all))
}
