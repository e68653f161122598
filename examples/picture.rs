//! Writes `docs/pictures/`: everything that the console shows, from the hand-made picture of the
//! screen tests, which say when a file there is old.

#[path = "../tests/screens/faces.rs"]
mod faces;
#[path = "../tests/screens/panels.rs"]
mod panels;
#[path = "../tests/screens/pictures.rs"]
mod pictures;
#[path = "../tests/screens/sample.rs"]
mod sample;

fn main() -> std::io::Result<()> {
    std::fs::create_dir_all(pictures::FOLDER)?;
    for (path, text) in pictures::pictures() {
        std::fs::write(path, text)?;
    }
    Ok(())
}
