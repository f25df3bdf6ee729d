//! A sheet of characters on which boxes and wires are drawn.

use super::{
    super::layout::{Point, Size},
    Block, Ink, Line,
};

/// The directions that lines leave a cell in.
const UP: u8 = 1;
const RIGHT: u8 = 2;
const DOWN: u8 = 4;
const LEFT: u8 = 8;

const VERTICAL: u8 = UP | DOWN;
const HORIZONTAL: u8 = LEFT | RIGHT;

/// Lines by the directions that they leave a cell in.
const LINES: [char; 16] = [' ', '╵', '╶', '╰', '╷', '│', '╭', '├', '╴', '╯', '─', '┴', '╮', '┤', '┬', '┼'];

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    text: Option<char>,
    lines: u8,
    /// Whether a line bends or ends here; else two that cross have nothing to do with each other.
    bends: bool,
    ink: Ink,
}

impl Cell {
    fn char(self) -> char {
        match self.lines {
            15 if !self.bends => '│',
            VERTICAL if self.ink == Ink::Bad => '╎',
            HORIZONTAL if self.ink == Ink::Bad => '╌',
            lines => self.text.unwrap_or(LINES[usize::from(lines)]),
        }
    }
}

pub(super) struct Canvas {
    cells: Vec<Vec<Cell>>,
}

impl Canvas {
    pub(super) fn new((width, height): (i32, i32)) -> Self {
        let [width, height] = [width, height].map(|n| usize::try_from(n).unwrap_or(0));
        Self { cells: vec![vec![Cell::default(); width]; height] }
    }

    fn cell(&mut self, (x, y): Point) -> Option<&mut Cell> {
        self.cells.get_mut(usize::try_from(y).ok()?)?.get_mut(usize::try_from(x).ok()?)
    }

    fn line(&mut self, at: Point, lines: u8, ink: Ink) {
        if let Some(cell) = self.cell(at) {
            cell.lines |= lines;
            cell.bends |= lines != VERTICAL && lines != HORIZONTAL;
            cell.ink = ink;
        }
    }

    fn text(&mut self, (x, y): Point, (ink, text): &(Ink, String)) -> i32 {
        let mut end = x;
        for char in text.chars() {
            if let Some(cell) = self.cell((end, y)) {
                *cell = Cell { text: Some(char), ink: *ink, ..Cell::default() };
            }
            end += 1;
        }
        end
    }

    /// A box with its title in the upper border.
    pub(super) fn block(&mut self, block: &Block, (x, y): Point, Size { width, height }: Size) {
        let (right, bottom) = (x + width - 1, y + height - 1);
        for column in x + 1..right {
            self.line((column, y), HORIZONTAL, Ink::Faint);
            self.line((column, bottom), HORIZONTAL, Ink::Faint);
        }
        for row in y + 1..bottom {
            self.line((x, row), VERTICAL, Ink::Faint);
            self.line((right, row), VERTICAL, Ink::Faint);
        }
        let corners = [
            (x, y, RIGHT | DOWN),
            (right, y, LEFT | DOWN),
            (x, bottom, UP | RIGHT),
            (right, bottom, UP | LEFT),
        ];
        corners.into_iter().for_each(|(x, y, lines)| self.line((x, y), lines, Ink::Faint));
        let (ink, title) = &block.title;
        self.text((x + 2, y), &(*ink, format!(" {title} ")));
        for (line, row) in block.lines.iter().zip(y + 1..) {
            line.iter().fold(x + 2, |column, piece| self.text((column, row), piece));
        }
    }

    /// A wire from the right border of one box to the left border of another.
    pub(super) fn wire(&mut self, points: &[Point], ink: Ink) {
        let mut points = points.to_vec();
        let Some(first) = points.first_mut() else { return };
        first.0 -= 1;
        let steps: Vec<Point> = points
            .windows(2)
            .flat_map(|ends| between(ends[0], ends[1]))
            .chain(points.last().copied())
            .collect();
        for index in 0..steps.len() {
            let at = steps[index];
            let before = index.checked_sub(1).map_or(0, |before| towards(at, steps[before]));
            let after = steps.get(index + 1).map_or(0, |after| towards(at, *after));
            self.line(at, before | after, ink);
        }
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        self.cells.iter().map(|row| pieces(row)).collect()
    }
}

/// The cells from one point to the next, without that.
fn between(from: Point, to: Point) -> Vec<Point> {
    let (dx, dy) = ((to.0 - from.0).signum(), (to.1 - from.1).signum());
    let length = (to.0 - from.0).abs() + (to.1 - from.1).abs();
    (0..length).map(|step| (from.0 + dx * step, from.1 + dy * step)).collect()
}

/// The direction of a cell's neighbour.
fn towards(at: Point, other: Point) -> u8 {
    match (other.0 - at.0, other.1 - at.1) {
        (0, -1) => UP,
        (1, 0) => RIGHT,
        (0, 1) => DOWN,
        (-1, 0) => LEFT,
        _ => 0,
    }
}

/// A row's characters, those of one ink together, without blanks at its end.
fn pieces(row: &[Cell]) -> Line {
    let length = row.iter().rposition(|cell| cell.char() != ' ').map_or(0, |last| last + 1);
    let mut line = Line::new();
    for cell in &row[..length] {
        let char = cell.char();
        match line.last_mut() {
            Some((ink, text)) if *ink == cell.ink || char == ' ' => text.push(char),
            _ => line.push((cell.ink, char.to_string())),
        }
    }
    line
}
