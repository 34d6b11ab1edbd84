#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "mtt/model/archive.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

/// A file that is gone when the test ends.
class TemporaryFile {
public:
    explicit TemporaryFile(const std::string& content) {
        static int count = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("mtt-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::ofstream(path_, std::ios::binary) << content;
    }
    ~TemporaryFile() { std::filesystem::remove(path_); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    [[nodiscard]] std::string path() const { return path_.string(); }

private:
    std::filesystem::path path_;
};

std::string number(uint64_t value, int width) {
    std::string out;
    for (int k = 0; k < width; ++k) {
        out.push_back(char(value >> (8 * k)));
    }
    return out;
}

/// An uncompressed zip archive; `flip` changes one byte of the last record after its checksum was taken.
std::string zip(const std::vector<std::pair<std::string, std::string>>& records, bool flip = false) {
    std::string out;
    std::string directory;
    for (const auto& [name, content] : records) {
        const size_t at = out.size();
        const std::string common = number(0, 2) + number(0, 2) + number(0, 4) + number(crc32(content), 4) +
                                   number(content.size(), 4) + number(content.size(), 4) + number(name.size(), 2);
        out += "PK\x03\x04" + number(20, 2) + common + number(0, 2) + name + content;
        directory += "PK\x01\x02" + number(20, 2) + number(20, 2) + common + number(0, 2) + number(0, 2) +
                     number(0, 2) + number(0, 2) + number(0, 4) + number(at, 4) + name;
    }
    if (flip) {
        out.back() = char(out.back() ^ 1);
    }
    const size_t start = out.size();
    return out + directory + "PK\x05\x06" + number(0, 4) + number(records.size(), 2) + number(records.size(), 2) +
           number(directory.size(), 4) + number(start, 4) + number(0, 2);
}

FileKind kind_of(const std::string& content) { return Archive(TemporaryFile(content).path()).kind(); }

}  // namespace

TEST("checksums of known texts") {
    CHECK(crc32("123456789") == 0xcbf43926U);
    CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST("kinds of files") {
    CHECK(kind_of("") == FileKind::unknown);
    CHECK(kind_of("some text") == FileKind::unknown);
    CHECK(kind_of("\x80\x02}q\x01.") == FileKind::pickle);
    CHECK(kind_of(number(2, 8) + "{}") == FileKind::mtt_checkpoint);
    CHECK(kind_of(zip({{"m/data.pkl", "x"}, {"m/version", "3"}})) == FileKind::pickle);
    CHECK(kind_of(zip({{"m/data.pkl", "x"}, {"m/constants.pkl", "x"}})) == FileKind::torchscript);
    CHECK(kind_of(zip({{"m/constants.pkl", "x"}, {"m/extra/metatomic-version", "0.1"}})) == FileKind::metatomic);
    CHECK(kind_of(zip({{"m/constants.pkl", "x"}, {"m/extra/metatensor-version", "0.1"}})) == FileKind::metatensor_era);
    CHECK(kind_of(zip({{"m/readme", "x"}})) == FileKind::zip);
}

TEST("no truncation of an archive is taken for a model") {
    const auto archive = zip({{"m/constants.pkl", "x"}, {"m/extra/metatomic-version", "0.1"}});
    for (size_t length = 4; length < archive.size(); ++length) {
        CHECK(kind_of(archive.substr(0, length)) == FileKind::truncated);
    }
}

TEST("records are listed without their folder and read back") {
    const TemporaryFile file(zip({{"m/version", "3\n"}, {"m/extra/mtt/x.json", "{}"}}));
    const Archive archive(file.path());
    CHECK(archive.has("extra/mtt/x.json"));
    CHECK(!archive.has("m/version"));
    CHECK(archive.read("extra/mtt/x.json") == "{}");
    CHECK_THROWS(archive.read("nothing"), std::runtime_error, "no record 'nothing'");
    CHECK(archive.damaged_records().empty());
}

TEST("a changed byte in a record is found") {
    const TemporaryFile file(zip({{"m/version", "3\n"}, {"m/data/0", "weights"}}, true));
    CHECK(Archive(file.path()).damaged_records() == (std::vector<std::string>{"data/0"}));
}

TEST("a missing file is an error") {
    CHECK_THROWS(Archive("no/such/file.pt"), std::runtime_error, "can not open 'no/such/file.pt'");
}
