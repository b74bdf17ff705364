//! Where does the memory of arrays and arenas come from, and where does it go back to?

