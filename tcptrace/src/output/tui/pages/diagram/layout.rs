//! Where the boxes of the states are: CLOSE as a tall one at the left, ESTABLISHED at the right, what opens above and goes to the
//! right, what closes below and goes to the left.

use ratatui::layout::Rect;

use crate::model::TcpState;

/// Rows of boxes between the tall ones.
const ROWS: usize = 5;

/// The narrowest picture.
const NARROWEST: u16 = 80;

/// The widest: arrows that are too long are hard to follow.
const WIDEST: u16 = 150;

/// Heights of a box, and of the gaps above the rows but the first, the largest first.
const HEIGHTS: [(u16, [u16; ROWS - 1]); 5] =
    [(5, [2, 3, 2, 2]), (5, [1, 2, 1, 1]), (5, [0, 1, 0, 0]), (3, [1, 2, 1, 1]), (3, [0, 1, 0, 0])];

/// Lines below the picture that it should leave, and that it must leave.
const BELOW: (u16, u16) = (6, 3);

/// The places of one picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// All boxes.
    pub(super) picture: Rect,
    /// What is left below it.
    pub(super) below: Rect,
    /// Height of a box.
    height: u16,
    /// Width of a box.
    width: u16,
    /// Left edges of the columns between CLOSE and ESTABLISHED.
    columns: [u16; 3],
    /// Upper edges of the rows.
    rows: [u16; ROWS],
    close: Rect,
    established: Rect,
}

impl Layout {
    /// In an area; `None` where it is too small for the picture.
    pub(super) fn of(area: Rect) -> Option<Self> {
        let sum = |(height, gaps): &(u16, [u16; ROWS - 1])| height * 5 + gaps.iter().sum::<u16>();
        let fits = |below: u16| HEIGHTS.iter().find(|heights| sum(heights) + below <= area.height);
        let heights = fits(BELOW.0).or_else(|| fits(BELOW.1))?;
        let (height, gaps) = *heights;
        if area.width < NARROWEST {
            return None;
        }
        let total = area.width.min(WIDEST);
        let (close, width, established) = match total {
            ..100 => (7, 11, 13),
            100..130 => (9, 13, 15),
            _ => (11, 15, 19),
        };
        let picture_height = sum(heights);
        // In the middle, but for what is said below it.
        let y = area.y + (area.height - picture_height).saturating_sub(BELOW.0 + 4) / 2;
        let x = area.x + (area.width - total) / 2;
        let free = total - close - established - 3 * width;
        let gap = |number: u16| free / 4 + u16::from(4 - number <= free % 4);
        let first = x + close + gap(0);
        let second = first + width + gap(1);
        let third = second + width + gap(2);
        let mut rows = [y; ROWS];
        for row in 1..ROWS {
            rows[row] = rows[row - 1] + height + gaps[row - 1];
        }
        let picture = Rect { x, y, width: total, height: picture_height };
        let bottom = picture.bottom();
        Some(Self {
            picture,
            below: Rect { y: bottom, height: area.bottom() - bottom, ..picture },
            height,
            width,
            columns: [first, second, third],
            rows,
            close: Rect { width: close, ..picture },
            established: Rect { x: picture.right() - established, width: established, ..picture },
        })
    }

    /// The box of a state.
    pub(super) fn of_state(&self, state: TcpState) -> Rect {
        let (row, column) = match state {
            TcpState::Close => return self.close,
            TcpState::Established => return self.established,
            TcpState::Listen => (0, 0),
            TcpState::SynRecv => (0, 2),
            TcpState::SynSent => (1, 0),
            TcpState::TimeWait => (2, 0),
            TcpState::FinWait2 => (2, 1),
            TcpState::FinWait1 => (2, 2),
            TcpState::Closing => (3, 1),
            TcpState::LastAck => (4, 1),
            TcpState::CloseWait => (4, 2),
        };
        // Room for the name and both edges.
        let wider = (u16::try_from(state.name().len()).unwrap_or(0) + 2).saturating_sub(self.width);
        Rect {
            x: self.columns[column] - wider,
            y: self.rows[row],
            width: self.width + wider,
            height: self.height,
        }
    }

    /// The middle line of a row.
    pub(super) fn middle(&self, row: usize) -> u16 {
        self.rows.get(row).map_or(self.picture.y, |top| top + self.height / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_inside_and_apart() {
        for width in 80..300 {
            for height in 19..100 {
                let area = Rect::new(3, 2, width, height);
                let layout = Layout::of(area).expect("is large enough");
                let boxes = TcpState::ALL.map(|state| layout.of_state(state));
                for (at, one) in boxes.iter().enumerate() {
                    assert_eq!(one.intersection(area), *one, "{width}x{height}");
                    assert!(boxes[..at].iter().all(|other| !one.intersects(*other)), "{width}x{height}");
                }
                assert!(layout.below.height >= BELOW.1);
            }
        }
        assert!(Layout::of(Rect::new(0, 0, 79, 40)).is_none());
        assert!(Layout::of(Rect::new(0, 0, 80, 18)).is_none());
    }
}
