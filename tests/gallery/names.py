"""The class or grade of an image, which folders or tables tell."""

from __future__ import annotations

from kagglekit import Classes, ClassLabel, Competition, CsvIds, CsvLabels, FolderLabels, FromTrain, Grades
from tests.gallery import answers
from tests.gallery.layouts import Layout, others
from tests.gallery.running import Row

FIVE = tuple("01234")
ANIMALS = ("0", "1", "13", "19")
RICE = ("bacterial_leaf_blight", "blast", "normal", "tungro")
WEEDS = ("Black-grass", "Common wheat", "Shepherds Purse", "Small-flowered Cranesbill")
THINGS = ("airplane", "automobile", "cat", "frog")
SIGNS = ("0", "A", "a", "n", "Z")
CASSAVA = ("cbb", "cbsd", "cgm", "cmd", "healthy")
CANCERS = ("CC", "EC", "HGSC", "LGSC", "MC")
CULTIVARS = ("PI_152591", "PI_156178", "PI_257599", "PI_92270")


def iwildcam_2019() -> Competition:
    """Name the animal in front of a camera trap. Folds never split a camera, and images of two animals are left out."""
    return Competition(
        name="iwildcam-2019",
        kaggle="iwildcam-2019-fgvc6",
        target=Classes(FromTrain()),
        train=CsvLabels(
            "train.csv",
            images="train_images/{id}.jpg",
            id="id",
            label="category_id",
            group="location",
            only_agreed=True,
        ),
        test="test_images/{id}.jpg",
        flip="allowed",
        submission=ClassLabel(id="Id", label="Category"),
        metric="f1(macro)",
        leaderboard={"gold": 0.212, "silver": 0.129, "bronze": 0.114, "median": 0.108},
    )


def cifar_10() -> Competition:
    """Ten kinds of things in tiny images."""
    return Competition(
        name="cifar-10",
        kaggle="cifar-10",
        train=CsvLabels("trainLabels.csv", images="train/{id}.png", id="id", label="label"),
        test="test/{id}.png",
        flip="allowed",
        submission=ClassLabel(),
        metric="accuracy",
    )


def street_view() -> Competition:
    """Digits and letters, large and small, on signs in the street."""
    return Competition(
        name="street-view",
        kaggle="street-view-getting-started-with-julia",
        train=CsvLabels("trainLabels.csv", images="train/{id}.Bmp", id="ID", label="Class"),
        test="test/{id}.Bmp",
        flip="forbidden",
        submission=ClassLabel(id="ID", label="Class"),
        metric="accuracy",
    )


def cassava_2019() -> Competition:
    """Name the disease of a cassava leaf."""
    return Competition(
        name="cassava-2019",
        kaggle="cassava-disease",
        train=FolderLabels("train/{label}"),
        test="test/0/{id}",
        flip="allowed",
        submission=ClassLabel(id="Id", label="Category", sample=("sample_submission_file.csv",)),
        metric="accuracy",
    )


def diabetic_retinopathy() -> Competition:
    """Grade photographs of both eyes of patients, whom the file names tell."""
    return Competition(
        name="diabetic-retinopathy",
        kaggle="diabetic-retinopathy-detection",
        target=Grades(5),
        train=CsvLabels("trainLabels.csv", images="train/{group}_{eye}.jpeg", id="image", label="level"),
        test="test/{id}.jpeg",
        flip="allowed",
        submission=ClassLabel(id="image", label="level"),
        metric="qwk",
    )


def ubc_ocean() -> Competition:
    """Tell five kinds of ovarian cancer by the thumbnails of slides. Tissue arrays have none, and get the prior."""
    return Competition(
        name="ubc-ocean",
        kaggle="UBC-OCEAN",
        train=CsvLabels(
            "train.csv",
            images="train_thumbnails/{id}_thumbnail.png",
            id="image_id",
            label="label",
            only_present=True,
        ),
        test=CsvIds("test.csv", images="test_thumbnails/{id}_thumbnail.png", id="image_id", only_present=True),
        flip="allowed",
        submission=ClassLabel(id="image_id", label="label"),
        metric="balanced_accuracy",
    )


def sorghum() -> Competition:
    """Tell 100 cultivars. One row of the table is of a file that is no image."""
    return Competition(
        name="sorghum",
        kaggle="sorghum-id-fgvc-9",
        train=CsvLabels(
            "train_cultivar_mapping.csv", images="train_images/{id}", id="image", label="cultivar", only_present=True
        ),
        test="test/{id}",
        flip="allowed",
        submission=ClassLabel(id="filename", label="cultivar"),
        metric="accuracy",
    )


ROWS = {
    "aptos2019-blindness-detection": Row(
        Layout(
            answer=answers.Name(FIVE),
            labels=FIVE,
            id="{n:012x}",
            train="train_images/{id}.png",
            test="test_images/{id}.png",
            tables={"train.csv": "id_code,diagnosis\n{id},{label}"},
            test_tables={"test.csv": "id_code\n{id}"},
            sample="id_code,diagnosis\n{id},0",
        )
    ),
    "cassava-leaf-disease-classification": Row(
        Layout(
            answer=answers.Name(FIVE),
            labels=FIVE,
            id="{n}.jpg",
            train="train_images/{id}",
            test="test_images/{id}",
            tables={"train.csv": "image_id,label\n{id},{label}"},
            sample="image_id,label\n{id},4",
            more=lambda *_: {
                "label_num_to_disease_map.json": '{"0": "Cassava Bacterial Blight (CBB)"}',
                "train_tfrecords/ld_train00-1338.tfrec": "records",
            },
        )
    ),
    "iwildcam-2019-fgvc6": Row(
        Layout(
            answer=answers.Name(ANIMALS),
            labels=ANIMALS,
            each=4,
            id="5998cfa4-23d2-11e8-a6a3-{n:012x}",
            train="train_images/{id}.jpg",
            test="test_images/{id}.jpg",
            tables={
                "train.csv": "category_id,date_captured,file_name,frame_num,id,location,rights_holder,seq_id,"
                "seq_num_frames,width,height\n"
                "{label},2011-05-13 23:43:18,{id}.jpg,1,{id},{g},Justin Brown,6f084ccc,3,1024,747"
            },
            test_tables={
                "test.csv": "date_captured,file_name,frame_num,id,location,rights_holder,seq_id,seq_num_frames,width,"
                "height\n2012-03-17 03:48:44,{id}.jpg,2,{id},{g},Erin Boydston,6f12067d,4,1024,747"
            },
            also={
                "train.csv": "1,2011-05-13 23:43:18,two.jpg,1,two,9,Justin Brown,6f084ccc,3,1024,747\n"
                "13,2011-05-13 23:43:18,two.jpg,1,two,9,Justin Brown,6f084ccc,3,1024,747\n",
                "test.csv": "2012-03-17 03:48:44,both.jpg,2,both,9,Erin Boydston,6f12067d,4,1024,747\n" * 2,
                "sample_submission.csv": "90,both,0\n91,both,0\n",
            },
            more=lambda *_: others("train_images/two.jpg", "test_images/both.jpg"),
            sample=",Id,Category\n{n},{id},0",
            packed={"train_images.zip": "train_images/*", "test_images.zip": "test_images/*"},
        ),
        iwildcam_2019,
    ),
    "paddy-disease-classification": Row(
        Layout(
            answer=answers.Name(RICE),
            labels=RICE,
            id="{n:06d}.jpg",
            train="train_images/{label}/{id}",
            test="test_images/{id}",
            tables={"train.csv": "image_id,label,variety,age\n{id},{label},ADT45,45"},
            sample="image_id,label\n{id},",
        )
    ),
    "plant-seedlings-classification": Row(
        Layout(
            answer=answers.Name(WEEDS),
            labels=WEEDS,
            id="{n:09x}.png",
            train="train/{label}/{id}",
            test="test/{id}",
            sample="file,species\n{id},Common wheat",
            packed={"train.zip": "train/", "test.zip": "test/"},
        )
    ),
    "cifar-10": Row(
        Layout(
            answer=answers.Name(THINGS),
            labels=THINGS,
            train="train/{id}.png",
            test="test/{id}.png",
            first_test=1,
            tables={"trainLabels.csv": "id,label\n{id},{label}"},
            sample="id,label\n{id},cat",
            sample_name="sampleSubmission.csv",
            packed={"train.7z": "train/", "test.7z": "test/"},
        ),
        cifar_10,
    ),
    "street-view-getting-started-with-julia": Row(
        Layout(
            answer=answers.Name(SIGNS),
            labels=SIGNS,
            train="train/{id}.Bmp",
            test="test/{id}.Bmp",
            tables={"trainLabels.csv": "ID,Class\n{id},{label}"},
            sample="ID,Class\n{id},A",
            sample_name="sampleSubmission.csv",
            more=lambda train, test: others(*(one.path.replace("/", "Resized/") for one in [*train, *test])),
            packed={
                "train.zip": "train/",
                "test.zip": "test/",
                "trainResized.zip": "trainResized/",
                "testResized.zip": "testResized/",
            },
        ),
        street_view,
    ),
    "cassava-disease": Row(
        Layout(
            answer=answers.Name(CASSAVA),
            labels=CASSAVA,
            first=0,
            id="train-{label}-{n}.jpg",
            test_id="test-img-{n}.jpg",
            train="train/{label}/{id}",
            test="test/0/{id}",
            sample="Category,Id\ncbsd,{id}",
            sample_name="sample_submission_file.csv",
            more=lambda *_: others("extraimages/extra-image-0.jpg"),
            packed={"train.zip": "train/", "test.zip": "test/", "extraimages.zip": "extraimages/"},
        ),
        cassava_2019,
    ),
    "diabetic-retinopathy-detection": Row(
        Layout(
            answer=answers.Name(FIVE),
            labels=FIVE,
            first=10,
            first_test=50,
            each=2,
            id=("{g}_left", "{g}_right"),
            train="train/{id}.jpeg",
            test="test/{id}.jpeg",
            tables={"trainLabels.csv": "image,level\n{id},{label}"},
            sample="image,level\n{id},0",
            sample_name="sampleSubmission.csv",
            packed={
                "train.zip": "train/",
                "test.zip": "test/",
                "trainLabels.csv.zip": "trainLabels.csv",
                "sampleSubmission.csv.zip": "sampleSubmission.csv",
            },
        ),
        diabetic_retinopathy,
    ),
    "UBC-OCEAN": Row(
        Layout(
            answer=answers.Name(CANCERS),
            labels=CANCERS,
            train="train_thumbnails/{id}_thumbnail.png",
            test="test_thumbnails/{id}_thumbnail.png",
            tables={"train.csv": "image_id,label,image_width,image_height,is_tma\n{id},{label},23785,20008,False"},
            test_tables={"test.csv": "image_id,image_width,image_height\n{id},28469,16987"},
            sample="image_id,label\n{id},HGSC",
            also={
                "train.csv": "91,HGSC,3388,3388,True\n",
                "test.csv": "92,3388,3388\n",
                "sample_submission.csv": "92,HGSC\n",
            },
            more=lambda train, test: others(
                *(f"train_images/{name}.png" for name in (*(one.id for one in train), "91")),
                *(f"test_images/{name}.png" for name in (*(one.id for one in test), "92")),
            ),
        ),
        ubc_ocean,
    ),
    "sorghum-id-fgvc-9": Row(
        Layout(
            answer=answers.Name(CULTIVARS),
            labels=CULTIVARS,
            id="2017-06-16__12-24-20-{n:03d}.png",
            test_id="{n:010d}.png",
            train="train_images/{id}",
            test="test/{id}",
            tables={"train_cultivar_mapping.csv": "image,cultivar\n{id},{label}"},
            also={"train_cultivar_mapping.csv": ".DS_Store,\n"},
            sample="filename,cultivar\n{id},PI_257599",
        ),
        sorghum,
    ),
}
