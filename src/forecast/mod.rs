//! Where a series of numbers is going.
