//! The loops. The only place where elements are read and written through pointers.
