use bytes::BytesMut;

/// Octets of room that are made at a time.
const ROOM: usize = 4 * 1024;

/// Room that the heads of many packets share, so that building one seldom allocates.
///
/// Heads live as briefly as their packets; once none of them is left the same room serves again.
#[derive(Debug, Default)]
pub struct Heads(BytesMut);

impl Heads {
    /// Room for one head of `len` octets, empty.
    pub(crate) fn room(&mut self, len: usize) -> BytesMut {
        if self.0.capacity() < len {
            self.0.reserve(len.max(ROOM));
        }
        let rest = self.0.split_off(len);
        std::mem::replace(&mut self.0, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_share_room_which_serves_again() {
        let mut heads = Heads::default();
        let mut head = |len| {
            let mut head = heads.room(len);
            assert_eq!(head.capacity(), len);
            head.resize(len, 7);
            head
        };
        let first = head(40);
        let second = head(60);
        assert_eq!(second.as_ptr().addr() - first.as_ptr().addr(), 40);
        assert!(first.iter().chain(&second).all(|octet| *octet == 7));
        let address = first.as_ptr().addr();
        drop((first, second));
        let again = (0..ROOM / 40).any(|_| head(40).as_ptr().addr() == address);
        assert!(again);
    }
}
