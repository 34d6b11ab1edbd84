// What can be learned from a model file before any of its code is loaded: kind, records, metadata, checksums.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mtt {

enum class FileKind {
    metatomic,       ///< TorchScript archive with the metatomic records
    metatensor_era,  ///< exported before metatomic existed
    torchscript,     ///< TorchScript, but not for this interface
    pickle,          ///< torch.save or plain pickle: a training checkpoint
    mtt_checkpoint,  ///< safetensors
    zip,             ///< some other zip archive
    truncated,       ///< starts like a zip archive, has no end
    unknown
};

/// Short noun phrase for messages, for example "a TorchScript file without the metatomic interface".
std::string describe(FileKind kind);

/// A record as the directory of the archive describes it.
struct DirectoryEntry {
    /// With the folder.
    std::string name;
    uint32_t crc = 0;
    uint16_t method = 0;
    uint16_t flags = 0;
    uint64_t packed = 0;
    uint64_t size = 0;
    /// Where its local header is.
    uint64_t offset = 0;
};

/// The bytes of a model file, wherever they are read.
class ArchiveView {
public:
    virtual ~ArchiveView() = default;
    [[nodiscard]] virtual const std::string& path() const = 0;
    [[nodiscard]] virtual FileKind kind() const = 0;
    [[nodiscard]] virtual uint64_t bytes() const = 0;
    /// Names without the leading folder of the archive.
    [[nodiscard]] virtual std::vector<std::string> records() const = 0;
    [[nodiscard]] virtual bool has(const std::string& record) const = 0;
    /// @throws std::runtime_error if there is no such record or it cannot be unpacked
    [[nodiscard]] virtual std::string read(const std::string& record) const = 0;
    /// Checks the CRC-32 of every record, which libtorch itself does not do. Returns what is wrong.
    [[nodiscard]] virtual std::vector<std::string> damaged_records() const = 0;
};

class Archive final : public ArchiveView {
public:
    /// Looks at the file only as bytes. Never throws for bad contents, only if the file cannot be read.
    explicit Archive(std::string path);

    [[nodiscard]] const std::string& path() const override { return path_; }
    [[nodiscard]] FileKind kind() const override { return kind_; }
    [[nodiscard]] uint64_t bytes() const override { return bytes_; }
    [[nodiscard]] std::vector<std::string> records() const override;
    [[nodiscard]] bool has(const std::string& record) const override;
    [[nodiscard]] std::string read(const std::string& record) const override;
    [[nodiscard]] std::vector<std::string> damaged_records() const override;

    /// All bytes of the file, read once: what is looked at is what is loaded, whatever happens to the file meanwhile.
    [[nodiscard]] const std::string& content() const { return *content_; }
    [[nodiscard]] std::shared_ptr<const std::string> shared_content() const { return content_; }
    /// In the order of the directory, each as often as it is there.
    [[nodiscard]] const std::vector<DirectoryEntry>& directory() const { return directory_; }
    /// Where the directory begins.
    [[nodiscard]] uint64_t directory_offset() const { return directory_offset_; }
    /// Nothing follows the directory but its end, and nothing is between them.
    [[nodiscard]] bool ends_cleanly() const { return ends_cleanly_; }
    /// Size of a record when unpacked, as the directory says.
    [[nodiscard]] uint64_t size_of(const std::string& record) const;

private:
    struct Entry {
        uint32_t crc;
        uint64_t size;
    };
    struct Reader;
    void read_directory(const std::string& content);
    Reader& reader() const;

    std::string path_;
    FileKind kind_ = FileKind::unknown;
    uint64_t bytes_ = 0;
    std::map<std::string, Entry> entries_;
    std::shared_ptr<const std::string> content_;
    std::vector<DirectoryEntry> directory_;
    uint64_t directory_offset_ = 0;
    bool ends_cleanly_ = false;
    mutable std::shared_ptr<Reader> reader_;
};

uint32_t crc32(const std::string& bytes);
std::string sha256_hex(const std::string& bytes);
std::string file_sha256(const std::string& path);

}  // namespace mtt
