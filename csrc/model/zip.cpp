#include "mtt/model/zip.hpp"

#include <algorithm>
#include <cctype>
#include <set>
#include <stdexcept>

namespace mtt {

namespace {

constexpr size_t directory_end = 22;
constexpr size_t local_header = 30;
constexpr size_t central_header = 46;

uint64_t number(const std::string& bytes, uint64_t at, int width) {
    uint64_t out = 0;
    for (int k = 0; k < width; ++k) {
        out |= uint64_t(uint8_t(bytes.at(size_t(at) + size_t(k)))) << (8 * k);
    }
    return out;
}

bool is_plain(const std::string& name) {
    const bool printable = std::all_of(name.begin(), name.end(), [](char letter) {
        return letter >= ' ' && letter != 127 && letter != '\\';
    });
    const std::string framed = "/" + name + "/";
    return printable && !name.empty() && framed.find("//") == std::string::npos &&
           framed.find("/./") == std::string::npos && framed.find("/../") == std::string::npos;
}

/// libtorch finds records without regard to case.
std::string lowered(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(), [](char letter) {
        return char(std::tolower(uint8_t(letter)));
    });
    return name;
}

class Directory {
public:
    explicit Directory(const std::string& content): content_(content) {}
    ZipDirectory read();

private:
    void read_end();
    uint64_t read_entry(uint64_t at);
    void check_local(uint64_t at, uint64_t header, const ZipEntry& entry);
    void check_names();
    void say(const std::string& text) {
        if (out_.ambiguities.size() < 10) {
            out_.ambiguities.push_back(text);
        }
    }

    const std::string& content_;
    ZipDirectory out_;
    uint64_t count_ = 0;
    uint64_t begin_ = 0;
};

ZipDirectory Directory::read() {
    try {
        read_end();
        uint64_t at = begin_;
        for (uint64_t k = 0; k < count_; ++k) {
            at = read_entry(at);
        }
        out_.complete = true;
    } catch (const std::out_of_range&) {
        out_.complete = false;
    }
    check_names();
    return std::move(out_);
}

void Directory::read_end() {
    const size_t end = content_.rfind("PK\x05\x06");
    if (end == std::string::npos || end + directory_end > content_.size() ||
        content_.size() - end > directory_end + 65535) {
        throw std::out_of_range("no end");
    }
    if (end + directory_end != content_.size()) {
        say("something comes after its directory");
    }
    count_ = number(content_, end + 10, 2);
    begin_ = number(content_, end + 16, 4);
    // Zip64: the numbers do not fit, the real ones are in a record that a locator before the end points to.
    const bool has_locator = end >= 20 && content_.compare(end - 20, 4, "PK\x06\x07") == 0;
    if (has_locator) {
        const uint64_t end64 = number(content_, end - 20 + 8, 8);
        if (content_.compare(size_t(std::min<uint64_t>(end64, content_.size())), 4, "PK\x06\x06") != 0) {
            throw std::out_of_range("no end");
        }
        const uint64_t count = number(content_, end64 + 32, 8);
        const uint64_t begin = number(content_, end64 + 48, 8);
        if ((count_ != 0xffff && count_ != count) || (begin_ != 0xffffffff && begin_ != begin)) {
            say("its two directories contradict each other");
        }
        count_ = count;
        begin_ = begin;
    } else if (count_ == 0xffff || begin_ == 0xffffffff) {
        say("its directory has an impossible size");
    }
}

uint64_t Directory::read_entry(uint64_t at) {
    if (content_.compare(size_t(std::min<uint64_t>(at, content_.size())), 4, "PK\x01\x02") != 0) {
        throw std::out_of_range("no entry");
    }
    ZipEntry entry;
    entry.crc = uint32_t(number(content_, at + 16, 4));
    entry.size = number(content_, at + 24, 4);
    const uint64_t name_length = number(content_, at + 28, 2);
    const uint64_t extra = number(content_, at + 30, 2);
    const uint64_t comment = number(content_, at + 32, 2);
    number(content_, at + central_header + name_length + extra + comment - 1, 1);  // all of it is there
    entry.name = content_.substr(size_t(at) + central_header, size_t(name_length));
    check_local(at, number(content_, at + 42, 4), entry);
    out_.entries.push_back(std::move(entry));
    return at + central_header + name_length + extra + comment;
}

/// A reader that goes by the local headers sees the same.
void Directory::check_local(uint64_t at, uint64_t header, const ZipEntry& entry) {
    if (header == 0xffffffff) {
        return;  // beyond 4 GB, in an extra field
    }
    if (content_.compare(size_t(std::min<uint64_t>(header, content_.size())), 4, "PK\x03\x04") != 0) {
        say("the record '" + entry.name + "' has no header");
        return;
    }
    const uint64_t method = number(content_, at + 10, 2);
    const bool same_name = number(content_, header + 26, 2) == entry.name.size() &&
                           content_.compare(size_t(header) + local_header, entry.name.size(), entry.name) == 0;
    if (!same_name || number(content_, header + 8, 2) != method) {
        say("the two headers of the record '" + entry.name + "' contradict each other");
    }
    if ((number(content_, at + 8, 2) & 1U) != 0 || (method != 0 && method != 8)) {
        say("the record '" + entry.name + "' is packed in an unusual way");
    }
}

void Directory::check_names() {
    std::set<std::string> seen;
    std::string folder;
    for (const auto& entry : out_.entries) {
        const auto own = entry.name.substr(0, entry.name.find('/'));
        folder = folder.empty() ? own : folder;
        if (!is_plain(entry.name) || entry.name.find('/') == std::string::npos) {
            say("it has a record with an unusual name: '" + entry.name + "'");
        } else if (own != folder) {
            say("it has two folders, '" + folder + "' and '" + own + "'");
        } else if (!seen.insert(lowered(entry.name)).second) {
            say("it has two records '" + entry.name + "'");
        }
    }
}

}  // namespace

ZipDirectory read_directory(const std::string& content) { return Directory(content).read(); }

}  // namespace mtt
