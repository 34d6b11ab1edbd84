#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "mtt/runner/files.hpp"
#include "testing.hpp"

using namespace mtt;
namespace fs = std::filesystem;

namespace {

struct Folder {
    fs::path path;
    Folder() {
        std::string name = (fs::temp_directory_path() / "mtt-test-XXXXXX").string();
        path = mkdtemp(name.data());
    }
    ~Folder() { fs::remove_all(path); }
    [[nodiscard]] std::string operator/(const char* name) const { return (path / name).string(); }
};

std::string content(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
}

}  // namespace

TEST("only files are read") {
    const Folder folder;
    mkfifo((folder / "pipe").c_str(), 0600);
    std::ofstream(folder / "empty").flush();
    std::ofstream(folder / "file") << "12345";
    fs::create_symlink("loop", folder.path / "loop");
    CHECK_THROWS(check_input(folder / "pipe"), std::runtime_error, "a pipe or a device");
    CHECK_THROWS(check_input("/dev/zero"), std::runtime_error, "a pipe or a device");
    CHECK_THROWS(check_input(folder.path.string()), std::runtime_error, "a folder");
    CHECK_THROWS(check_input("/proc/self/environ"), std::runtime_error, "made up by the kernel");
    CHECK(read_input(folder / "empty", 5).empty());
    CHECK_THROWS(check_input(folder / "loop"), std::runtime_error, "can not open");
    CHECK_THROWS(check_input(folder / "missing"), std::runtime_error, "can not open");
    CHECK(read_input(folder / "file", 5) == "12345");
    CHECK_THROWS(read_input(folder / "file", 4), std::runtime_error, "more than");
}

TEST("outputs replace files, follow links, and leave pipes and devices what they are") {
    const Folder folder;
    write_output(folder / "new", "text");
    CHECK(content(folder / "new") == "text");
    chmod((folder / "new").c_str(), 0640);
    fs::create_symlink("new", folder.path / "link");
    write_output(folder / "link", "other");
    CHECK(fs::is_symlink(folder.path / "link") && content(folder / "new") == "other");
    CHECK((fs::status(folder.path / "new").permissions() & fs::perms::all) == fs::perms(0640));
    write_output("/dev/null", "gone");
    CHECK(fs::is_character_file("/dev/null"));
    CHECK_THROWS(write_output(folder / "no/folder", "x"), std::runtime_error, "can not write");
    CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 2);
}
